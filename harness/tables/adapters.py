"""Latency tables in the shape of other tools' estimators, so that search code written for those can use one unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.networks.blocks import block_key
from harness.networks.network import Network
from harness.tables.ofa_names import FLAVOURS, Flavour, block_named, flavour_of_config, layer_names, name_of
from harness.tables.table import LatencyTable


class OfaLatencyTable:
    """What the search code of Once-for-All and ProxylessNAS asks of its latency table. All latencies are in ms.

    A block without a row raises MissingBlock. With a calibrated table a query is what the block adds to a network, and a network has the
    form's constant added.
    """

    def __init__(self, table: LatencyTable, flavour: Flavour | None = None) -> None:
        """Take whose names `query` is asked by, where a table has blocks of both; by default OFA's come first."""
        self._predictor = table.predictor
        self._flavours = FLAVOURS if flavour is None else (flavour,)

    def query(
        self,
        l_type: str,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        mid: int | None = None,
        ks: int | None = None,
        stride: int | None = None,
        id_skip: int | None = None,
        se: int | None = None,
        h_swish: int | None = None,
        expand: int | None = None,
    ) -> float:
        """Return the latency of a layer; `mid` is the expanded channels of OFA's blocks, `expand` the ratio of ProxylessNAS's."""
        given = {"expand": expand if mid is None else mid, "kernel": ks, "stride": stride, "idskip": id_skip, "se": se, "hs": h_swish}
        settings = {name: value for name, value in given.items() if value is not None}
        return self._named(name_of(l_type, input_shape, output_shape, **settings), self._flavours)

    def predict_network_latency(self, net: Any, image_size: int = 224) -> float:
        """Return the latency of one of their networks, by its `config`."""
        return self.predict_network_latency_given_config(net.config, image_size)

    def predict_network_latency_given_config(self, net_config: Mapping[str, Any], image_size: int = 224) -> float:
        """Return the latency of the network that one of their configurations describes."""
        flavours = (flavour_of_config(net_config),)
        return self._predictor.constant_ms + sum(self._named(name, flavours) for name in layer_names(net_config, image_size))

    def _named(self, name: str, flavours: Sequence[Flavour]) -> float:
        for flavour in flavours:
            placed = block_named(name, flavour)
            if placed is not None and self._predictor.row(block_key(*placed)) is not None:
                return self._predictor.block_ms(block_key(*placed))
        return self._predictor.block_ms(name)


class NniProfiler:
    """What NNI's strategies and filters ask of a profiler: the latency of a sample, in ms.

    `network_of` makes a network of a sample, which NNI hands over as a dictionary from labels to choices.
    """

    def __init__(self, table: LatencyTable, network_of: Callable[[Mapping[str, Any]], Network]) -> None:
        self._table = table
        self._network_of = network_of

    def profile(self, sample: Mapping[str, Any]) -> float:
        """Return the latency of the network that a sample makes; raises MissingBlock."""
        return self._table.predict(self._network_of(sample)).latency_ms
