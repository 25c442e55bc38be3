"""What Android's commands print, in the formats of several versions, and what is made of it."""

from __future__ import annotations

import pytest

from latency_agent import android
from latency_agent.android import Battery, Thermal

NEXUS_5X = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 1874
  status: 5
  health: 2
  present: true
  level: 100
  scale: 100
  voltage: 4331
  temperature: 297
  technology: Li-ion
"""
SAMSUNG = """\
Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  Max charging current: 0
  status: 3
  health: 2
  present: true
  level: 12
  scale: 100
  voltage: 3671
  temperature: 305
  technology: Li-ion
  batteryMiscEvent: 0
  mSavedBatteryAsoc: 92
  LED Charging: true
  LED Low Battery: true
  current now: -312
  charge counter: 402000
  Adaptive Fast Charging Settings: true
"""
TOLD_TO_SAY = NEXUS_5X.replace("state:", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)")
WITHOUT_A_BATTERY = NEXUS_5X.replace("present: true", "present: false")
ANDROID_10 = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=46.3, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=51.9, mType=0, mName=CPU7, mStatus=0}
\tTemperature{mValue=NaN, mType=0, mName=CPU6, mStatus=0}
\tTemperature{mValue=-273.0, mType=0, mName=CPU5, mStatus=0}
\tTemperature{mValue=60.5, mType=1, mName=GPU0, mStatus=0}
\tTemperature{mValue=38.2, mType=3, mName=skin, mStatus=2}
\tTemperature{mValue=33.1, mType=2, mName=battery, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=cpu0}
"""
ANDROID_15 = """\
IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=41.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 3  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=40.0, mType=0, mName=LITTLE, mStatus=0}
\tTemperature{mValue=42.0, mType=0, mName=BIG, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=0, mName=BIG, mHotThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, 100.0]}
Temperature headroom thresholds:
\t0, 0.9
"""
ANDROID_10_WITHOUT_A_HAL = """\
IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
HAL Ready: false
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (NEXUS_5X, Battery(100, 29.7, charging=False)),
        (SAMSUNG, Battery(12, 30.5, charging=False)),
        (NEXUS_5X.replace("status: 5", "status: 2").replace("scale: 100", "scale: 200"), Battery(50, 29.7, charging=True)),
        (NEXUS_5X.replace("status: 5", "status: 1"), Battery(100, 29.7, None)),
        (TOLD_TO_SAY, Battery()),
        (WITHOUT_A_BATTERY, Battery()),
        ("Can't find service: battery\n", Battery()),
        ("", Battery()),
    ],
)
def test_a_battery_is_read(said: str, told: Battery) -> None:
    assert android.battery(said) == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (ANDROID_10, Thermal(2, (46.3, 51.9))),
        (ANDROID_15, Thermal(0, (40.0, 42.0))),
        (ANDROID_10_WITHOUT_A_HAL, Thermal(0, ())),
        ("Can't find service: thermalservice\n", Thermal()),
        ("", Thermal()),
    ],
)
def test_heat_is_read_from_what_the_hardware_tells_now(said: str, told: Thermal) -> None:
    assert android.thermal(said) == told


@pytest.mark.parametrize(
    ("said", "told"),
    [("0\n", False), ("1\n", True), ("null\n", False), ("", None), ("Error: Could not access the Settings Provider\n", None)],
)
def test_battery_saver_is_read(said: str, told: bool | None) -> None:
    assert android.battery_saver(said) is told


PIXEL_4 = """\
[ro.board.platform]: [msmnile]
[ro.build.id]: [SP2A.220505.002]
[ro.build.version.release]: [12]
[ro.build.version.sdk]: [32]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 4]
[ro.serialno]: [98281FFAZ00ABC]
[ro.soc.manufacturer]: [QTI]
[ro.soc.model]: [SM8150]
[persist.sys.text]: [one [two]: [three]]
"""


def test_what_a_phone_is_comes_from_its_properties() -> None:
    told = android.properties(PIXEL_4)
    assert told["persist.sys.text"] == "one [two]: [three]"
    assert (android.model(told), android.build(told)) == ("Google Pixel 4 (SM8150)", "Android 12 (SDK 32, SP2A.220505.002)")
    assert android.model({"ro.product.manufacturer": "HTC", "ro.product.model": "HTC One M9", "ro.board.platform": "msm8994"}) == (
        "HTC One M9 (msm8994)"
    )
    assert (android.model({}), android.build({})) == ("Android phone", "Android of unknown version")


@pytest.mark.parametrize(
    ("told", "serial"),
    [
        ({"ro.serialno": "98281FFAZ00ABC"}, "98281FFAZ00ABC"),
        ({"ro.serialno": "unknown", "ro.boot.serialno": "R58N12ABCDE"}, "R58N12ABCDE"),
        ({"ro.serialno": "0123456789ABCDEF"}, None),
        ({"ro.serialno": "EMULATOR34X1X19X0"}, None),
        ({"ro.serialno": "0000000000"}, None),
        ({"ro.serialno": ""}, None),
        ({}, None),
    ],
)
def test_a_serial_number_that_many_phones_have_is_none(told: dict[str, str], serial: str | None) -> None:
    assert android.serial(told) == serial


def test_no_phone_is_no_phone() -> None:
    assert not android.is_phone()
