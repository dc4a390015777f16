#!/usr/bin/env python3
"""From the start of a process to one token, with transformers and PEFT, several adapters active.

    python bench/peers/first_token.py BASE TOKENS THREADS ADAPTER...

PEFT adds what each adapter gives, with weight 1. Needs torch, transformers
and peft.
"""
import os
import sys

base, count, threads, *adapters = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = threads  # before torch is there

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

torch.set_num_threads(int(threads))
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16)
model = PeftModel.from_pretrained(model, adapters[0], adapter_name="a0")
for index, path in enumerate(adapters[1:], 1):
    model.load_adapter(path, adapter_name=f"a{index}")
model.base_model.set_adapter([f"a{index}" for index in range(len(adapters))])
with torch.inference_mode():
    logits = model(input_ids=torch.arange(3, 3 + int(count)).unsqueeze(0), logits_to_keep=1).logits
print(int(logits[0, -1].argmax()))
