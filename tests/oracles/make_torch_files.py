"""Files that torch.save writes, good and bad, and the tensors that torch reads from the good ones, for tests/common/torch_file_test.cpp.

    python tests/oracles/make_torch_files.py tests/data/parity/torch_files

Each good NAME.* has its tensors in expected_NAME.safetensors.
"""
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy
import torch
from safetensors.torch import save_file

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
torch.manual_seed(5)
torch.set_num_threads(1)


def path(name):
    return f"{folder}/{name}"


def write(name, content, tensors, **options):
    torch.save(content, path(name), **options)
    again = torch.load(path(name), weights_only=False)
    assert again.keys() == content.keys()
    save_file({key: value.detach().contiguous().clone() for key, value in tensors.items()}, path(f"expected_{name.split('.')[0]}.safetensors"))


numbers = torch.randn(3, 4) * 50
dtypes = {str(dtype).removeprefix("torch."): (numbers > 0 if dtype == torch.bool else numbers.abs() if dtype == torch.uint8 else numbers).to(dtype)
          for dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64)}
dtypes |= {"rank_0": torch.tensor(7.5), "empty": torch.empty(0, 3), "infinite": torch.tensor([float("nan"), float("inf")])}
write("dtypes.pt", dtypes, dtypes)

base = torch.randn(4, 6)
views = {"base": base, "transposed": base.t(), "part": base[1:3, ::2], "last_column": base[:, 5], "same": base, "parameter": torch.nn.Parameter(base[2]),
         "channels_last": torch.randn(2, 3, 2, 2).contiguous(memory_format=torch.channels_last), "expanded_once": torch.randn(1, 5).expand(1, 5)}
write("views.pth", views, views)

module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Conv2d(2, 3, 1))
write("module.bin", module.state_dict(), module.state_dict())

# What pytorch-lightning leaves around the weights: its callback's class is a key, and numpy's numbers are in its state.
lightning = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": lightning.__name__})
lightning.ModelCheckpoint = ModelCheckpoint
for parent in ("pytorch_lightning", "pytorch_lightning.callbacks"):
    sys.modules[parent] = types.ModuleType(parent)
sys.modules[lightning.__name__] = lightning
weights = OrderedDict((f"model.diffusion_model.layer_{i}.weight", torch.randn(1, i % 3 + 1)) for i in range(300))
trainer = {"epoch": 3, "global_step": 470000, "big": 1 << 40, "negative": -70000, "pytorch-lightning_version": "1.4.2", "state_dict": weights,
           "callbacks": {ModelCheckpoint: {"monitor": "val/loss", "best_model_score": torch.tensor(0.5), "current": numpy.float64(0.25), "path": None}},
           "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0, 1]}]}],
           "lr_schedulers": []}
write("trainer.ckpt", trainer, weights)


class Evil:
    def __reduce__(self):
        return os.system, ("touch harm-was-done",)


torch.save({"weight": torch.ones(2), "evil": Evil()}, path("evil.pt"))
torch.save({"weight": torch.ones(2)}, path("legacy.pt"), _use_new_zipfile_serialization=False)
torch.save({"weight": torch.ones(2)}, path("protocol_4.pt"), pickle_protocol=4)
torch.save({"weight": torch.ones(2, dtype=torch.complex64)}, path("complex.pt"))
torch.save([torch.ones(2)], path("list.pt"))
torch.save({"model": {"weight": torch.ones(2)}, "step": 3}, path("nested.pt"))
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), path("script.pt"))
with zipfile.ZipFile(path("views.pth")) as source, zipfile.ZipFile(path("deflated.pt"), "w", zipfile.ZIP_DEFLATED) as target:
    for name in source.namelist():
        target.writestr(name, source.read(name))
with open(path("plain_pickle.pt"), "wb") as file:
    pickle.dump({"weight": [1.0, 2.0]}, file, protocol=2)
print(sum(os.path.getsize(path(name)) for name in os.listdir(folder)), "bytes", file=sys.stderr)
