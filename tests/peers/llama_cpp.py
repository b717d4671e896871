"""llama.cpp's library from its wheel `xllamacpp`, which holds its C interface (llama-cpp-python has no wheel for the CPU and
takes long to build): models, their logits, their tokens."""

import ctypes
from importlib import metadata, util
from pathlib import Path

import numpy


class Parameters(ctypes.Structure):
    """llama.cpp's parameter structures grow from version to version and are passed by value in memory: a larger one whose
    defaults the library itself fills in serves any. The first words of a context's are checked before they are set."""
    _fields_ = [("words", ctypes.c_int32 * 256)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


class Missing(Exception):
    pass


class Library:
    """`path` names another libllama.so than the wheel's. Throws Missing where there is none."""

    def __init__(self, path=None):
        if path is None:
            found = util.find_spec("xllamacpp")
            if found is None:
                raise Missing("xllamacpp is not installed (pip install -r tests/peers/requirements.txt)")
            path = next(Path(found.origin).parent.glob("*.so"))
            self.version = metadata.version("xllamacpp")
        else:
            self.version = None
        library = self.c = ctypes.CDLL(str(path))
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(library, name).restype = Parameters
        for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab"):
            getattr(library, name).restype = ctypes.c_void_p
        library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
        library.llama_init_from_model.argtypes = [ctypes.c_void_p, Parameters]
        library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        library.llama_model_free.argtypes = [ctypes.c_void_p]
        library.llama_batch_init.restype = Batch
        library.llama_batch_init.argtypes = [ctypes.c_int32] * 3
        library.llama_batch_free.argtypes = [Batch]
        library.llama_decode.argtypes = [ctypes.c_void_p, Batch]
        library.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
        library.llama_get_logits_ith.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        library.llama_free.argtypes = [ctypes.c_void_p]
        library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32),
                                           ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
        for name in ("llama_vocab_get_add_bos", "llama_vocab_get_add_eos"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_bool
        for name in ("llama_vocab_n_tokens", "llama_vocab_bos", "llama_vocab_eos", "llama_model_n_ctx_train"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.llama_print_system_info.restype = ctypes.c_char_p
        self.messages = []
        # Kept, or the library would call what was collected.
        self.on_message = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, data: self.messages.append(text.decode(errors="replace")) if level >= 3 else None)
        library.llama_backend_init()
        library.llama_log_set(self.on_message, None)

    def context(self, model, tokens, sequences, threads):
        parameters = self.c.llama_context_default_params()
        words = parameters.words
        n_ctx, n_batch, n_ubatch, n_seq_max = range(4)
        # The two counts of threads, 4 by default, stand a few words further on.
        n_threads = next((i for i in range(4, 12) if words[i] == words[i + 1] == 4), None)
        if list(words[:4]) != [512, 2048, 512, 1] or n_threads is None:
            raise RuntimeError(f"this version's context parameters begin with {list(words[:12])}, expected 512 2048 512 1 ... 4 4")
        words[n_ctx], words[n_seq_max] = tokens, sequences
        words[n_threads] = words[n_threads + 1] = threads
        context = self.c.llama_init_from_model(model, parameters)
        if not context:
            raise RuntimeError("llama.cpp made no context: " + "".join(self.messages))
        return context


class Model:
    def __init__(self, library, path):
        self.library = library
        library.messages.clear()
        self.handle = library.c.llama_model_load_from_file(str(path).encode(), library.c.llama_model_default_params())
        if not self.handle:
            raise RuntimeError(f"llama.cpp cannot load {path}: " + "".join(library.messages))
        self.vocabulary = library.c.llama_model_get_vocab(self.handle)

    def close(self):
        self.library.c.llama_model_free(self.handle)

    def logits(self, ids, greedy=0):
        """Logits [T, V] behind each of the ids, and `greedy` tokens that follow them."""
        c = self.library.c
        count = c.llama_vocab_n_tokens(self.vocabulary)
        context = self.library.context(self.handle, 512, 1, 2)
        batch = c.llama_batch_init(len(ids), 0, 1)

        def decode(tokens, begin):
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, begin + i, 1, 0, 1
            if c.llama_decode(context, batch) != 0:
                raise RuntimeError("llama_decode failed: " + "".join(self.library.messages))
            return numpy.stack([numpy.ctypeslib.as_array(c.llama_get_logits_ith(context, i), (count,)).copy()
                                for i in range(len(tokens))])

        logits = decode(ids, 0)
        following = [int(logits[-1].argmax())] if greedy else []
        while len(following) < greedy:
            following.append(int(decode(following[-1:], len(ids) + len(following) - 1)[-1].argmax()))
        c.llama_batch_free(batch)
        c.llama_free(context)
        return logits, following

    def tokens(self, text):
        """Ids of the text without what is put around it; special tokens in it are found."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 16))()
        count = self.library.c.llama_tokenize(self.vocabulary, data, len(data), ids, len(ids), False, True)
        if count < 0:
            raise RuntimeError(f"llama_tokenize returned {count} for {text!r}")
        return list(ids[:count])
