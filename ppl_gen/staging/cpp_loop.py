"""Calls of one graph after the other, in C++ where what calls its kernels is compiled too.

Between two steps of a small model Python takes as long as some of the kernels: for handing over the
parameters, and for gradients that nobody looks at. A few lines of C++ around the compiled entry
keep the parameters at hand and drop those gradients. Where anything is lacking for that, Python
does the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

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

// The lists hold tensor handles as capsules. `given` has those of one call after the other, which
// are used up; `fixed` follows them in every call. Returns the first outputs of each call, as lists
// of numbers, and then the other ones of the last.
extern "C" PyObject* repeat(
    void (*entry)(AtenTensorHandle*, AtenTensorHandle*),
    PyObject* given, PyObject* fixed, long calls, long heads, long outputs) {
  const long changing = PyList_Size(given) / calls, constant = PyList_Size(fixed);
  std::vector<AtenTensorHandle> in(changing + constant), out(outputs);
  PyObject* found = PyList_New(0);
  long call = 0;
  try {
    for (; call < calls; ++call) {
      for (long i = 0; i < changing; ++i) in[i] = handle(given, call * changing + i);
      for (long i = 0; i < constant; ++i) {
        aoti_torch_new_tensor_handle(handle(fixed, i), &in[changing + i]);
      }
      entry(in.data(), out.data());
      PyObject* numbers = PyList_New(heads);
      for (long i = 0; i < heads; ++i) PyList_SET_ITEM(numbers, i, number(out[i]));
      PyList_Append(found, numbers);
      Py_DECREF(numbers);
      for (long i = heads; i < outputs; ++i) {
        if (call + 1 == calls) append(found, out[i]);
        else if (out[i]) aoti_torch_delete_tensor_object(out[i]);
      }
    }
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    Py_CLEAR(found);
    for (long i = (call + 1) * changing; i < calls * changing; ++i) {
      aoti_torch_delete_tensor_object(handle(given, i));
    }
  }
  for (long i = 0; i < constant; ++i) aoti_torch_delete_tensor_object(handle(fixed, i));
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


def several(
    run: Run,
    calls: Sequence[Sequence[Tensor]],
    fixed: Sequence[Tensor],
    heads: int,
) -> tuple[list[list[float]], Outputs]:
    """Run a graph on the tensors of one call after the other, each followed by the fixed ones.

    Returns:
        The first ``heads`` outputs of each call, which are 0-d, as numbers, and the other outputs
        of the last call.
    """
    if len(calls) > 1 and isinstance(run, Kernel) and run.entry and (loop := _loop()):
        given = handles_of([tensor for tensors in calls for tensor in tensors])
        always = handles_of([*fixed, *run.constants])
        made = loop(run.entry, given, always, len(calls), heads, run.outputs)
        return made[: len(calls)], tensors_of(made[len(calls) :])
    found: list[Tensor] = []
    outputs: Outputs = ()
    for tensors in calls:
        outputs = ()  # so that the memory, still in the caches, serves again
        outputs = run(*tensors, *fixed)
        found += cast("Sequence[Tensor]", outputs[:heads])
    return torch.stack(found).view(-1, heads).tolist(), outputs[heads:]


@cache
def _loop() -> Any:
    """The function ``repeat`` above, compiled, or ``None`` where that fails."""
    library = _library()
    if library is None:
        return None
    repeat = library.repeat
    repeat.restype = ctypes.py_object
    repeat.argtypes = [ctypes.c_void_p, *2 * [ctypes.py_object], *3 * [ctypes.c_long]]
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
