"""Models as files: conversion to .tflite, inspection, numbers to compare with."""
