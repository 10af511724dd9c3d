"""Calls of graphs one after the other, in C++ where what calls its kernels is compiled too.

Between two steps of a small model Python takes as long as some of the kernels: for handing over the
parameters, and for gradients that nobody looks at. A few lines of C++ around the compiled entry
keep the parameters at hand and drop those gradients. Where anything is lacking for that, Python
does the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ppl_gen.staging import code_keys, kept_code
from ppl_gen.staging.torch_internals import (
    compile_cpp,
    entry_of,
    handles_of,
    open_library,
    tensors_of,
)

Outputs = Sequence[Tensor | None]
Run = Callable[..., Outputs]

SOURCE = r"""
#include <Python.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <algorithm>
#include <exception>
#include <vector>

static AtenTensorHandle handle(PyObject* list, long i) {
  return static_cast<AtenTensorHandle>(PyCapsule_GetPointer(PyList_GET_ITEM(list, i), nullptr));
}

static void append(PyObject* list, AtenTensorHandle tensor) {
  PyObject* item = tensor ? PyCapsule_New(tensor, nullptr, nullptr) : Py_NewRef(Py_None);
  PyList_Append(list, item);
  Py_DECREF(item);
}

static PyObject* number(AtenTensorHandle tensor) {
  int32_t type;
  aoti_torch_get_dtype(tensor, &type);
  double value;
  if (type == aoti_torch_dtype_float32()) {
    void* data;
    aoti_torch_get_data_ptr(tensor, &data);
    value = *static_cast<float*>(data);
  } else {
    aoti_torch_item_float64(tensor, &value);
  }
  aoti_torch_delete_tensor_object(tensor);
  return PyFloat_FromDouble(value);
}

struct Graph {
  void (*entry)(AtenTensorHandle*, AtenTensorHandle*);
  PyObject* fixed;
  long changing, heads, outputs, last;
  std::vector<AtenTensorHandle> kept;
};

static long item(PyObject* list, long i) { return PyLong_AsLong(PyList_GET_ITEM(list, i)); }

// The lists hold tensor handles as capsules. `order` has the graph of each call of a cycle, `given`
// the inputs of one call after the other, which are used up; those in `fixed` follow them in every
// call of a graph. `sizes` has how many inputs change, how many outputs are numbers, and how many
// there are. Returns the numbers of each call as lists, then the other outputs of the last call of
// each graph.
extern "C" PyObject* repeat(
    PyObject* entries, PyObject* order, PyObject* given, PyObject* fixed, PyObject* sizes,
    long cycles) {
  const long turns = PyList_Size(order), calls = cycles * turns;
  std::vector<Graph> graphs(PyList_Size(entries));
  long largest = 0, most = 0, next = 0;
  for (size_t g = 0; g < graphs.size(); ++g) {
    Graph& graph = graphs[g];
    graph.entry = reinterpret_cast<void (*)(AtenTensorHandle*, AtenTensorHandle*)>(
        PyLong_AsVoidPtr(PyList_GET_ITEM(entries, g)));
    graph.fixed = PyList_GET_ITEM(fixed, g);
    graph.changing = item(sizes, 3 * g);
    graph.heads = item(sizes, 3 * g + 1);
    graph.outputs = item(sizes, 3 * g + 2);
    largest = std::max<long>(largest, graph.changing + PyList_Size(graph.fixed));
    most = std::max(most, graph.outputs);
  }
  for (long turn = 0; turn < turns; ++turn) graphs[item(order, turn)].last = calls - turns + turn;
  std::vector<AtenTensorHandle> in(largest), out(most);
  PyObject* found = PyList_New(0);
  try {
    for (long call = 0; call < calls; ++call) {
      Graph& graph = graphs[item(order, call % turns)];
      const long constant = PyList_Size(graph.fixed);
      for (long i = 0; i < graph.changing; ++i) in[i] = handle(given, next++);
      for (long i = 0; i < constant; ++i) {
        aoti_torch_new_tensor_handle(handle(graph.fixed, i), &in[graph.changing + i]);
      }
      graph.entry(in.data(), out.data());
      PyObject* numbers = PyList_New(graph.heads);
      for (long i = 0; i < graph.heads; ++i) PyList_SET_ITEM(numbers, i, number(out[i]));
      PyList_Append(found, numbers);
      Py_DECREF(numbers);
      for (long i = graph.heads; i < graph.outputs; ++i) {
        if (call == graph.last) graph.kept.push_back(out[i]);
        else if (out[i]) aoti_torch_delete_tensor_object(out[i]);
      }
    }
    for (Graph& graph : graphs) {
      for (AtenTensorHandle tensor : graph.kept) append(found, tensor);
    }
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    Py_CLEAR(found);
    for (Graph& graph : graphs) {
      for (AtenTensorHandle tensor : graph.kept) {
        if (tensor) aoti_torch_delete_tensor_object(tensor);
      }
    }
    for (; next < PyList_Size(given); ++next) aoti_torch_delete_tensor_object(handle(given, next));
  }
  for (Graph& graph : graphs) {
    for (long i = 0; i < PyList_Size(graph.fixed); ++i) {
      aoti_torch_delete_tensor_object(handle(graph.fixed, i));
    }
  }
  return found;
}
"""


class Kernel:
    """A graph compiled with a C++ wrapper.

    Args:
        call: what takes the list of inputs and returns the outputs.
        outputs: how many these are.
        library: the shared object that it calls, if that is known.
        key: what it depends on, if that is known.
        kept: whether another process has compiled it.

    Attributes:
        constants: what follows the inputs in every call.
    """

    constants: Sequence[Tensor] = ()

    def __init__(
        self,
        call: Callable[[list[Tensor]], Outputs],
        outputs: int,
        library: Path | None = None,
        key: str | None = None,
        kept: bool = False,
    ):
        self._call, self.outputs, self._library = call, outputs, library
        self.key, self.kept = key, kept

    def __call__(self, *inputs: Tensor) -> Outputs:
        return self._call([*inputs, *self.constants])

    @cached_property
    def entry(self) -> Any:
        """The compiled function behind the Python one, or ``None``."""
        return self._library and entry_of(self._library)


class Graphs(NamedTuple):
    """Graphs that are called in turn.

    Attributes:
        runs: each takes tensors that change from call to call, and then its fixed ones.
        fixed: those of every graph.
        heads: how many of the first outputs of each are 0-d.
        order: the graph of every call of a cycle.
    """

    runs: Sequence[Run]
    fixed: Sequence[Sequence[Tensor]]
    heads: Sequence[int]
    order: Sequence[int]

    def __call__(
        self, calls: Sequence[Sequence[Tensor]]
    ) -> tuple[list[list[float]], list[Outputs]]:
        """Run as many cycles as there are calls for, with the tensors that change in each.

        Returns:
            The first outputs of every call as numbers, and for every graph the other outputs of its
            last call.
        """
        loop = _loop() if len(calls) > 1 and all(map(_is_alone, self.runs)) else None
        return self._in_python(calls) if loop is None else self._in_cpp(loop, calls)

    def _in_cpp(
        self, loop: Any, calls: Sequence[Sequence[Tensor]]
    ) -> tuple[list[list[float]], list[Outputs]]:
        kernels = cast("Sequence[Kernel]", self.runs)
        entries = [ctypes.cast(kernel.entry, ctypes.c_void_p).value for kernel in kernels]
        given = handles_of([tensor for tensors in calls for tensor in tensors])
        fixed = [
            handles_of([*tensors, *kernel.constants])
            for kernel, tensors in zip(kernels, self.fixed, strict=True)
        ]
        first = [self.order.index(graph) for graph in range(len(kernels))]
        changing = [len(calls[position]) for position in first]
        outputs = [kernel.outputs for kernel in kernels]
        sizes = [n for each in zip(changing, self.heads, outputs, strict=True) for n in each]
        order, cycles = list(self.order), len(calls) // len(self.order)
        made = loop(entries, order, given, fixed, sizes, cycles)
        rest = iter(tensors_of(made[len(calls) :]))
        counts = [n - heads for n, heads in zip(outputs, self.heads, strict=True)]
        return made[: len(calls)], [list(islice(rest, n)) for n in counts]

    def _in_python(
        self, calls: Sequence[Sequence[Tensor]]
    ) -> tuple[list[list[float]], list[Outputs]]:
        found: list[Tensor] = []
        last: list[Outputs] = [() for _ in self.runs]
        for tensors, graph in zip(calls, cycle(self.order), strict=False):
            last[graph] = ()  # so that the memory, still in the caches, serves again
            outputs = self.runs[graph](*tensors, *self.fixed[graph])
            found += cast("Sequence[Tensor]", outputs[: self.heads[graph]])
            last[graph] = outputs[self.heads[graph] :]
        numbers = iter(torch.stack(found).tolist())
        counts = [self.heads[graph] for _, graph in zip(calls, cycle(self.order), strict=False)]
        return [list(islice(numbers, n)) for n in counts], last


def _is_alone(run: Run) -> bool:
    """Whether the compiled function can be called without Python."""
    return isinstance(run, Kernel) and bool(run.entry)


@cache
def _loop() -> Any:
    """The function ``repeat`` above, compiled, or ``None`` where that fails."""
    library = _library()
    if library is None:
        return None
    repeat = library.repeat
    repeat.restype = ctypes.py_object
    repeat.argtypes = [*5 * [ctypes.py_object], ctypes.c_long]
    return repeat


def _library() -> ctypes.PyDLL | None:
    """The library of ``repeat``: kept from another process, or compiled and kept."""
    key = code_keys.source_key(SOURCE)
    kept = key and kept_code.find(key)
    if kept and (library := open_library(kept)):
        return library
    made = compile_cpp(SOURCE)
    if key and made:
        kept_code.keep(key, made)
    return open_library(made) if made else None
