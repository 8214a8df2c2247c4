"""A tiny Llama with random weights and its own byte-level tokenizer, both fixed by a seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.config import RandomSource
from matinee.data.sources.integrity import make_readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 1024
LONGEST_INPUT = 16384
SPECIALS = ("<|endoftext|>", "<|startoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>")

# Enough of what the prompts hold that common pieces of both languages become one token each.
TEXT = (
    "You are a helpful assistant. You may call one or more functions to answer the question. "
    "For each call write a JSON object with the name and the arguments of the function. ",
    '{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", '
    '"parameters": {"type": "object", "properties": {"city": {"type": "string", "description": '
    '"Name of the city"}, "date": {"type": "string", "enum": ["today", "tomorrow"]}}, "required": '
    '["city", "date"]}}}\n',
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Beijing", "date": "today"}}\n'
    '</tool_call>\n<tool_response>\n{"temperature": 21, "weather": "sunny"}\n</tool_response>\n',
    'Action: get_weather\nAction Input: {"city": "Beijing"}\nHuman: \nAssistant: \n',
    "What is the weather in London today? Please tell me the time of the next train to Paris. "
    "Which city do you mean? The weather is sunny and the temperature is twenty one degrees. ",
    "你是一个乐于助人的助手。你可以调用一个或多个函数来回答用户的问题。",
    "北京今天的天气怎么样？请帮我查询明天从北京到上海的航班和火车时间。",
    "请问您想查询哪个城市？查询结果：今天晴，气温二十一度。返回每个城市的名称和城市id。",
    "获取全国省级行政区列表，可按省份、城市或日期筛选，例如体育、新闻、汽车、机场、油价。",
    "抱歉，我没有可以完成这个请求的工具。谢谢你的帮助，再见！",
)


def make(source: RandomSource, folder: Path) -> dict[str, Any]:
    """Writes the model (bf16 safetensors) and the tokenizer. Equal seeds give equal files."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    heads = max(1, source.hidden_size // 16)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=source.hidden_size // heads * heads,
        intermediate_size=2 * source.hidden_size,
        num_hidden_layers=source.layers,
        num_attention_heads=heads,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=LONGEST_INPUT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        model = LlamaForCausalLM(config).bfloat16()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_readable(folder)
    return {"revision": f"seed {source.seed}", "commit": "", "licence": ""}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `TEXT`; it encodes any text without loss."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    eos, bos, pad, *others = SPECIALS
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=eos,
        bos_token=bos,
        pad_token=pad,
        additional_special_tokens=others,
        model_max_length=LONGEST_INPUT,
    )
