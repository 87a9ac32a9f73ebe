"""The peer llama.cpp, through the plain C functions of llama-cpp-python. See harness.py for the contract.

It reads the GGUF and computes on its blocks. It cannot change a neuron while it runs, so `decode` reads a copy of the file in
which that neuron is silent (edited.py): the same work with the same result.
"""
import ctypes

import harness

THREADS = harness.use_threads()

import llama_cpp
import numpy as np

CONTEXT = 512  # positions; more than any case needs


class Model:
    def __init__(self, path, plain):
        how = llama_cpp.llama_model_default_params()
        how.use_extra_bufts = not plain
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), how)
        if not self.model:
            raise RuntimeError("llama.cpp cannot read the file")
        how = llama_cpp.llama_context_default_params()
        how.n_ctx = how.n_batch = how.n_ubatch = CONTEXT
        how.n_threads = how.n_threads_batch = THREADS
        how.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, how)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def __del__(self):
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def forget(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)

    def last_logits(self, ids):
        """Runs `ids` after what the context holds; the logits of the last one, to be read before the next call."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(tokens, len(ids))) != 0:
            raise RuntimeError("llama.cpp does not decode")
        pointer = llama_cpp.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary,))


# Its words about the model would go to standard error, which is for what goes wrong.
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()


def load(options):
    return Model(options.edited if options.case == "decode" else options.model, options.plain_buffers)


def row(model, tokens):
    def run():
        model.forget()
        return model.last_logits(tokens["rows"][0])

    return run, lambda logits: logits[tokens["watched"]].tolist()


def decode(model, tokens):
    def run():
        model.forget()
        ids, step = [], tokens["prompt"]
        for _ in range(tokens["new_tokens"]):
            step = [int(model.last_logits(step).argmax())]
            ids += step
        return ids

    return run, lambda ids: ids


if __name__ == "__main__":
    harness.main("llama.cpp", ["llama-cpp-python"], {"row": row, "decode": decode}, load)
