"""The peers' side of peers.py: a PyTorch process that answers one JSON line with one JSON line.

    PEER_PYTHON benchmarks/peers_worker.py FOLDER     (started by peers.py; needs torch and transformers, not JAX)

FOLDER/model.npz holds weights under their names in LlamaForCausalLM, tokens, projections and second moments. Commands:
{"command": "loss"}, {"command": "encode", "key": …} (writes FOLDER/encodings.npz), {"command": "tune", "key": …} and
{"command": "run", "key": …}, which time one pass over the whole batch.

Every advantage is given: gradients stay in memory; tokens are tensors before the clock starts; batch size and attention
are the fastest of those tried; no key-value cache is made; denormal numbers are flushed; and the head is a copy of the
table, because with a tied one the embedding's trainable parameter, which bergson needs, would cost the head's weight
gradient too.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

BERGSON = {"bergson_none": "none", "bergson_adafactor": "adafactor", "bergson_adamw": "adamw"}
# Not timed: the same code as with Adafactor's moments. It shows that both reduce Adam's moments alike.
REDUCED = {"bergson_adamw_reduced": "adamw_reduced"}
ATTENTION = ("sdpa", "eager")


class Peers:
    """A function per key, and a model per attention and use."""

    def __init__(self, folder, o):
        self.folder, self.o = folder, o
        self.given = np.load(folder / "model.npz")
        self.tokens = torch.from_numpy(self.given["tokens"].astype(np.int64))
        self.sizes = sorted({size for size in (1, 4, 16) if size < o["batch"]} | {o["batch"]})
        self.models, self.steps, self.best = {}, {}, {}

    def model(self, attention, use="frozen"):
        """The decoder: `frozen` but for the embedding, with its own head; `hooked` likewise; or `trained` and tied."""
        if (attention, use) not in self.models:
            o, trained = self.o, use == "trained"
            config = LlamaConfig(
                vocab_size=o["vocabulary"], hidden_size=o["width"], intermediate_size=o["mlp_width"],
                num_hidden_layers=o["layers"], num_attention_heads=o["heads"], num_key_value_heads=o["kv_heads"],
                max_position_embeddings=o["context"], rms_norm_eps=o["norm_epsilon"],
                rope_parameters={"rope_type": "default", "rope_theta": o["rope_theta"]},
                tie_word_embeddings=trained, use_cache=False, attention_bias=False, mlp_bias=False,
                hidden_act="silu", attn_implementation=attention,
            )  # fmt: skip
            model = LlamaForCausalLM(config).eval()
            weights = {name[2:]: torch.from_numpy(self.given[name]) for name in self.given.files if name[:2] == "w/"}
            if not trained:
                weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
            missing, unexpected = model.load_state_dict(weights, strict=False)
            assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
            if not trained:
                model.requires_grad_(False)
                model.get_input_embeddings().requires_grad_(True)
            self.models[attention, use] = model
        return self.models[attention, use]

    def parts(self, size):
        return [list(range(i, min(i + size, len(self.tokens)))) for i in range(0, len(self.tokens), size)]

    def losses(self, attention, size):
        """Summed −log p of every example, without a gradient."""
        model, found = self.model(attention), []
        with torch.inference_mode():
            for rows in self.parts(size):
                x = self.tokens[rows]
                logits = model(x).logits[:, :-1]
                losses = functional.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]), x[:, 1:].flatten(), reduction="none"
                )
                found.append(losses.reshape(len(rows), -1).sum(1))
        return torch.cat(found)

    def train_step(self, attention, size):
        """One AdamW step on the whole batch, in parts of so many examples."""
        model = self.model(attention, "trained")
        optimizer = self.steps.setdefault(attention, torch.optim.AdamW(model.parameters(), lr=1e-5))
        optimizer.zero_grad()
        for rows in self.parts(size):
            x = self.tokens[rows]
            logits = model(x).logits[:, :-1]
            loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), x[:, 1:].flatten(), reduction="sum")
            (loss / self.tokens[:, 1:].numel()).backward()
        optimizer.step()

    def bergson(self, kind, attention, size):
        """Encodings [examples, matrices · p²] by bergson's own collector and its own forward-backward, in memory."""
        import bergson
        from bergson.collector.collector import fwd_bwd_factory
        from bergson.gradients import AdafactorNormalizer, AdamNormalizer
        from datasets import Dataset

        if (kind, attention) not in self.steps:

            def moments(name, matrix):
                return torch.from_numpy(self.given[f"{name}/{matrix}"])

            matrices = [name[5:] for name in self.given.files if name[:5] == "left/"]
            normalizers = {}
            for matrix in matrices if kind != "none" else ():
                normalizers[matrix] = (
                    AdamNormalizer(moments("adamw", matrix))
                    if kind == "adamw"
                    else AdafactorNormalizer(moments(f"{kind}_row", matrix), moments(f"{kind}_column", matrix))
                )
            processor = bergson.GradientProcessor(normalizers, projection_dim=self.o["projected_size"])
            for matrix in matrices:  # Where it would put its own random ones of the same shapes.
                for side in ("left", "right"):
                    place = (matrix, side, torch.device("cpu"))
                    processor._projection_matrices[place] = torch.from_numpy(self.given[f"{side}/{matrix}"])
            collector = bergson.InMemoryCollector(
                model=self.model(attention).base_model,
                cfg=bergson.IndexConfig(run_path=str(self.folder / "bergson")),
                processor=processor,
                data=Dataset.from_dict({"input_ids": self.tokens.tolist()}),
            )
            self.steps[kind, attention] = collector, fwd_bwd_factory(collector.cfg)
        collector, forward_backward = self.steps[kind, attention]
        for rows in self.parts(size):
            x = self.tokens[rows]
            mask = torch.ones(x.shape, dtype=torch.bool)
            mask[:, -1] = False
            with collector.with_batch(mask):
                losses = forward_backward(self.model(attention), x, x, {})
            collector.process_batch(rows, losses=losses)
        return collector

    def dattri(self, attention, size):
        """Projected per-example gradients by dattri-llm's hooks on the frozen model, without second moments."""
        from dattri_llm import CaptureCallback, HookManager, HookManagerConfig

        # Its hooks stay registered, so bergson's model must be another.
        model = self.model(attention, "hooked")
        if ("dattri", attention) not in self.steps:
            projection = {"style": "logra", "proj_dim": self.o["projected_size"], "proj_max_batch_size": 8}
            config = HookManagerConfig(
                linear_io=[r"layers\.\d+\."],
                include_frozen=True,
                capture_style="materialized",
                projection_kwargs={"__default__": projection},
            )
            capture = CaptureCallback()
            self.steps["dattri", attention] = HookManager(model, config=config, callbacks=[capture]), capture
        manager, capture = self.steps["dattri", attention]
        found = []
        with manager.collect():
            for rows in self.parts(size):
                x = self.tokens[rows]
                logits = model(x).logits[:, :-1]
                functional.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]), x[:, 1:].flatten(), reduction="sum"
                ).backward()
                model.zero_grad()
                found.append(capture.record)
        return found

    def function(self, key):
        """What a key runs, of attention and batch size."""
        if key in BERGSON or key in REDUCED:
            return lambda *way: self.bergson((BERGSON | REDUCED)[key], *way)
        return {"dattri_llm_none": self.dattri, "torch_forward": self.losses, "torch_train_step": self.train_step}[key]

    def tune(self, key):
        """Keeps the fastest attention and batch size: one pass to warm up, the better of two."""
        seconds = {}
        for attention in ATTENTION:
            for size in self.sizes:
                self.function(key)(attention, size)
                seconds[attention, size] = min(self.timed(key, (attention, size))["seconds"] for _ in range(2))
        self.best[key] = min(seconds, key=seconds.get)
        return {"variant": "{}/{} at once".format(*self.best[key]), "tried": len(seconds)}

    def timed(self, key, way=None):
        function, way = self.function(key), way or self.best[key]
        start, cpu = time.perf_counter(), time.process_time()
        function(*way)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}

    def encode(self, key):
        """Writes every matrix's encodings [examples, p, p], (out, in) as PyTorch stores weights."""
        collector, p = self.function(key)("eager", self.o["batch"]), self.o["projected_size"]
        parts = np.split(collector.builder.grad_buffer, len(collector.shapes()), axis=1)
        found = {name: part.reshape(-1, p, p) for name, part in zip(collector.shapes(), parts, strict=True)}
        np.savez(self.folder / "encodings.npz", **found)
        return {"matrices": len(found)}


def describe():
    """Versions, the keys that can be measured here, and the peers that cannot, with the reason."""
    keys, missing = ["torch_forward", "torch_train_step"], {}
    if importlib.util.find_spec("bergson"):
        keys += BERGSON
    else:
        missing |= dict.fromkeys(BERGSON, "bergson is not installed in the peer's Python")
    if importlib.util.find_spec("dattri_llm") and importlib.util.find_spec("dattri"):
        keys.append("dattri_llm_none")
    else:
        missing["dattri_llm_none"] = "dattri-llm or dattri is not installed in the peer's Python"
    missing["dattri_llm_adamw"] = "dattri-llm refuses an optimizer together with two-sided projection"
    missing["logix"] = "not measured: this program has no runner for it"
    versions = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "bergson", "dattri", "dattri-llm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"keys": keys, "missing": missing, "versions": versions}


def main():
    folder = Path(sys.argv[1])
    o = json.loads((folder / "options.json").read_text("utf-8"))
    # Libraries print; only answers may reach the pipe.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(o["threads"])
    torch.set_flush_denormal(True)  # As XLA does; a matrix product with denormal numbers is many times slower.
    torch.manual_seed(0)
    peers = Peers(folder, o)
    print(json.dumps(describe()), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["command"] == "loss":
            answer = {"losses": {attention: peers.losses(attention, 1).tolist() for attention in ATTENTION}}
        else:
            command = {"tune": peers.tune, "run": peers.timed, "encode": peers.encode}[asked["command"]]
            try:
                answer = command(asked["key"])
            except Exception as problem:  # Whatever breaks in a library is told, and the others are still measured.
                answer = {"failed": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
