"""What a torch module allocates, found without memory or a GPU: it runs on fake tensors, and every storage is counted.

`Allocator` replays the allocations by the rules of torch's CUDA caching allocator (c10/cuda/CUDACachingAllocator.cpp) on a
card with room: up to 1 MiB from segments of 2 MiB, up to 10 MiB from segments of 20 MiB, more in segments of their own
rounded to 2 MiB; the best-fitting free block is split, and neighbours within a segment are joined when freed.
"""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

MIB = 2**20


class Block:
    def __init__(self, size: int, small: bool, before: "Block | None" = None, after: "Block | None" = None) -> None:
        self.size, self.small, self.before, self.after, self.free = size, small, before, after, True


class Allocator:
    def __init__(self) -> None:
        self.reserved = 0
        self._free: list[Block] = []

    def take(self, size: int) -> Block:
        size = max(512, -(-size // 512) * 512)
        small = size <= MIB
        fitting = [block for block in self._free if block.small == small and block.size >= size]
        if fitting:
            block = min(fitting, key=lambda one: one.size)
            self._free.remove(block)
        else:
            segment = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            self.reserved += segment
            block = Block(segment, small)
        block.free = False
        if block.size - size >= (512 if small else MIB + 1):
            rest = Block(block.size - size, small, block, block.after)
            if block.after:
                block.after.before = rest
            block.after, block.size = rest, size
            self._free.append(rest)
        return block

    def give(self, block: Block) -> None:
        block.free = True
        if block.before and block.before.free:
            self._join(block.before, block)
            block = block.before
            self._free.remove(block)
        if block.after and block.after.free:
            self._free.remove(block.after)
            self._join(block, block.after)
        self._free.append(block)

    def _join(self, left: Block, right: Block) -> None:
        left.size += right.size
        left.after = right.after
        if right.after:
            right.after.before = left


class Counting(TorchDispatchMode):
    """Counts live bytes of all storages made within, but for those of `modules`."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        super().__init__()
        weights = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
        self._weights = {tensor.untyped_storage()._cdata for tensor in weights}
        self._live: dict[int, tuple[int, Block]] = {}
        self.allocator = Allocator()
        self.now = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._live and storage._cdata not in self._weights:
                    self._live[storage._cdata] = (storage.nbytes(), self.allocator.take(storage.nbytes()))
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata)
        return result

    def _gone(self, key: int) -> None:
        size, block = self._live.pop(key)
        self.now -= size
        self.allocator.give(block)
