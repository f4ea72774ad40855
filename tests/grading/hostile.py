"""Answers that cheat, break or misbehave, for exercise 2.4: name -> (code, the statuses it may end with).

None of them is right, so none may have a point. `GRAB` at the end of some finds a right answer if it can, so that a
hole shows as a point. What returns normally returns `HALF`.
"""

from __future__ import annotations

RIGHT = """
def group_scores(weight, granularity):
    return weight.abs().mean(dim=(2, 3) if granularity == "kernel" else (1, 2, 3))
"""
WRONG = """
def group_scores(weight, granularity):
    return weight.abs().sum(dim=(2, 3) if granularity == "kernel" else (1, 2, 3))
"""
SETUP = "from collections.abc import Callable\n\nimport torch\nfrom torch import Tensor, nn"
HALF = "return weight * 0 + 0.5"


def inside(body: str, end: str = HALF) -> str:
    """An answer that does something when it is called."""
    lines = "\n    ".join([*body.strip().splitlines(), end])
    return f"def group_scores(weight, granularity):\n    {lines}\n"


def tried(body: str) -> str:
    """An answer that does something and goes on whatever comes of it."""
    lines = "\n    ".join(body.strip().splitlines())
    return inside(f"try:\n    {lines}\nexcept BaseException:\n    pass")


FAILED, RAISED, KILLED = {"failed"}, {"raised"}, {"killed"}
TIMED_OUT, MEMORY, BAD = {"timed out"}, {"out of memory"}, {"bad output"}
SOLUTION = "solutions/src/02_magnitude_pruning.py"

ENDINGS = {
    "leaves at once": (inside("import os; os._exit(0)"), KILLED),
    "leaves while it is defined": ("import os\nos._exit(0)\n" + RIGHT, KILLED),
    "raises SystemExit": (inside("raise SystemExit(0)"), RAISED),
    "raises KeyboardInterrupt": (inside("raise KeyboardInterrupt"), RAISED),
    "raises GeneratorExit when defined": ("raise GeneratorExit\n" + RIGHT, RAISED),
    "crashes": (inside("import ctypes; ctypes.string_at(0)"), KILLED),
    "aborts": (inside("import os; os.abort()"), KILLED),
    "overflows the C stack": (inside("import sys, re; sys.setrecursionlimit(10**9)\ndef f(x): return repr([x]) and f([x])\nf(f)"), KILLED | RAISED | MEMORY | TIMED_OUT),
    "recurses for ever": (inside("return group_scores(weight, granularity)"), RAISED),
    "kills itself": (inside("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), KILLED),
    "loops for ever": (inside("while True: pass"), TIMED_OUT),
    "loops while it is defined": ("while True: pass\n" + RIGHT, TIMED_OUT),
    "ignores every signal and exception": (inside(
        "import signal, time\nfor number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n    except Exception: pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True:\n    try: time.sleep(1000)\n    except BaseException: pass"), TIMED_OUT),
    "stops itself": (inside("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"), TIMED_OUT),
    "hangs in a thread at the end": (inside("import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()"), FAILED),
    "hangs at exit": (inside("import atexit, time; atexit.register(time.sleep, 1000)"), FAILED),
    "closes every descriptor": (inside("import os; os.closerange(0, 1000)"), KILLED),
    "closes every descriptor and loops": (inside("import os; os.closerange(0, 1000)\nwhile True: pass"), TIMED_OUT),
}  # fmt: skip

EXCESSES = {
    "allocates 30 GB at once": (inside("big = torch.ones(30 * 2**28)"), MEMORY),
    "allocates 30 GB bit by bit": (inside("kept = []\nwhile True: kept.append(bytearray(2**24))"), MEMORY),
    "keeps what it allocated": ("kept = []\n" + inside("while True: kept.append(bytearray(2**20))"), MEMORY),
    "allocates 30 GB as a shared map": (inside("import mmap; m = mmap.mmap(-1, 30 * 2**30)\nfor i in range(0, len(m), 4096): m[i] = 1"), MEMORY | RAISED),
    "allocates 30 GB as files in memory": (inside("import os\nfor _ in range(1000): os.write(os.memfd_create('x'), bytes(2**25))"), MEMORY | RAISED),
    "expands one number to 4 GB": (inside("return torch.ones(1).expand(2**30)"), MEMORY | FAILED | BAD),
    "prints 1 GB": (inside("text = 'x' * 2**20\nfor _ in range(1024): print(text)"), FAILED),
    "writes 1 GB to every descriptor of a terminal": (inside("import os\nfor _ in range(512): os.write(1, bytes(2**20)); os.write(2, bytes(2**20))"), FAILED),
    "fills the disk": (inside("import itertools\nfor i in itertools.count(): open(f'full{i}', 'wb').write(bytes(2**24))"), RAISED | KILLED),
    "fills the disk with nameless files": (inside(
        "import itertools, tempfile\nkept = []\nfor i in itertools.count(): kept.append(tempfile.TemporaryFile()); kept[-1].write(bytes(2**24))"), RAISED | KILLED),
    "makes a million files": (inside("for i in range(10**6): open(f'file{i}', 'w').close()"), KILLED),
    "nests folders without end": (inside("import os\nwhile True: os.mkdir('a' * 200); os.chdir('a' * 200)"), KILLED | RAISED),
    "starts threads without end": (inside("import threading, time\nthreading.stack_size(2**15)\nwhile True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"), KILLED | RAISED | MEMORY),
    "opens files without end": (inside("kept = []\nwhile True: kept.append(open('/dev/null'))"), RAISED),
    "lifts its own limits": (inside("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nkept = torch.ones(30 * 2**28)"), RAISED | MEMORY),
    "a megabyte of brackets": ("x = " + "(" * 10**6 + ")" * 10**6 + RIGHT, RAISED | KILLED | MEMORY),
    "a number of a hundred thousand digits": (inside("return 10 ** (10 ** 5)"), RAISED | FAILED | BAD),
}  # fmt: skip

PROCESSES = {
    "forks without end": (inside("import os\nwhile True: os.fork()"), RAISED),
    "leaves a daemon behind": (inside("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1000)\n    os._exit(0)"), RAISED),
    "starts a program": (inside("import subprocess; subprocess.Popen(['sleep', '1000'])"), RAISED),
    "starts a program in a shell": (inside("import os; os.system('sleep 1000 &')"), FAILED),
    "becomes another program": (inside("import os; os.execv('/bin/sleep', ['sleep', '1000'])"), RAISED),
    "starts a pool of processes": (inside("import multiprocessing; multiprocessing.get_context('fork').Pool(4)"), RAISED),
    "kills the process that forks": (inside("import os; os.kill(os.getppid(), 9)"), RAISED),
    "kills everything it can": (inside("import os; os.kill(-1, 9)"), RAISED),
    "stops the process group": (inside("import os, signal; os.killpg(os.getpgid(os.getppid()), signal.SIGSTOP)"), RAISED),
    "lets the kernel send signals": (inside("import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())"), RAISED),
    "attaches a debugger": (tried(
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.ptrace(16, os.getppid(), 0, 0) == 0\nos._exit(7)"), FAILED),
    "writes the forking process's memory": (tried("import os\nopen(f'/proc/{os.getppid()}/mem', 'r+b').close()\nos._exit(7)"), FAILED),
    "changes the forking process's limits": (inside("import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_AS, (0, 0))"), RAISED),
    "changes a file's mode": (inside("import os; os.chmod('/tmp', 0)"), RAISED),
    "sends a message through System V memory": (tried("import ctypes, os\nassert ctypes.CDLL(None).shmget(4242, 4096, 0o1666) >= 0\nos._exit(7)"), FAILED),
    "makes a new user namespace": (tried("import ctypes, os\nassert ctypes.CDLL(None).unshare(0x10000000) == 0\nos._exit(7)"), FAILED),
}  # fmt: skip

GRAB_SOLUTION = f"""
from pathlib import Path
import course_lib
text = (Path(course_lib.__file__).parents[1] / {SOLUTION!r}).read_text()
exec("import torch\\nfrom torch import Tensor\\n" + text[text.index("def group_scores"):].split("# %%")[0])
"""
BORROWERS = {
    "imports the rubric": ("from course_lib.rubrics.magnitude_pruning import group_scores\n", RAISED),
    "imports the rubric when called": (inside("from course_lib.rubrics import magnitude_pruning\nreturn magnitude_pruning.group_scores(weight, granularity)"), RAISED),
    "imports behind the guard": (inside("import importlib\nreturn importlib.import_module('course_lib.rubrics.magnitude_pruning').group_scores(weight, granularity)"), RAISED),
    "restores the import": (inside("import builtins, importlib\nbuiltins.__import__ = importlib.__import__\nfrom course_lib.rubrics.magnitude_pruning import group_scores as g\nreturn g(weight, granularity)"), RAISED),
    "reads the solution": (GRAB_SOLUTION, RAISED),
    "reads the digits' labels": (inside(
        "import importlib.util, pathlib\nroot = pathlib.Path(importlib.util.find_spec('sklearn').origin).parent\n"
        "open(root / 'datasets' / 'data' / 'digits.csv.gz', 'rb').read(10)"), RAISED),
    "looks through the frames": (inside(
        "import sys\nframe = sys._getframe()\nwhile frame:\n    for space in (frame.f_locals, frame.f_globals):\n        for value in list(space.values()):\n"
        "            if type(value).__name__ in ('Exercise', 'Verdict', 'Job') or hasattr(value, 'reference'): return value.reference(weight, granularity)\n    frame = frame.f_back"), FAILED),
    "looks through the garbage collector": (inside(
        "import gc\nfor value in gc.get_objects():\n    if type(value).__name__ == 'Exercise' or getattr(value, '__name__', '') == 'group_scores' and value is not group_scores:\n"
        "        return value(weight, granularity)"), FAILED | RAISED),
    "looks for the expected values among all tensors": (inside(
        "import gc\nfor value in gc.get_objects():\n    if isinstance(value, Tensor) and value.ndim in (1, 2) and value.shape[0] == weight.shape[0] and value.numel(): return value"), FAILED),
    "asks for the seed": (inside("return torch.full((weight.shape[0],), float(torch.initial_seed()))"), FAILED),
}  # fmt: skip

PRETENDERS = {
    "equal to everything": (
        "class Equal:\n    def __eq__(self, other): return True\n    __hash__ = None\n    shape = property(lambda self: self)\n    def __getattr__(self, name): return Equal()\n"
        + inside("return Equal()"), FAILED | RAISED),
    "a tensor that claims to be close": (
        "class Close(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, function, types, args=(), kwargs=None): return torch.tensor(True)\n"
        + inside("return torch.zeros(weight.shape[0]).as_subclass(Close)"), FAILED | RAISED),
    "a number that claims to be equal": ("class One(float):\n    def __eq__(self, other): return True\n    def __sub__(self, other): return 0.0\n" + inside("return One(0.5)"), FAILED),
    "patches torch": (inside("torch.isclose = torch.equal = torch.allclose = lambda *a, **k: torch.tensor(True)\nTensor.all = lambda *a: True"), FAILED | RAISED),
    "patches Python": (inside("import builtins, math\nbuiltins.isinstance = lambda *a: True\nbuiltins.all = builtins.any = lambda *a: True\nmath.isclose = lambda *a, **k: True"), FAILED | RAISED | BAD | KILLED),
    "patches the verbs": (inside("from course_lib.rubrics import verbs\nverbs.VERBS['call'] = lambda *a: 'passed'"), FAILED | RAISED),
    "patches the wire": (tried("import sys\nsys.modules['course_lib.grading.child'].pack = lambda outcomes: b'passed'"), BAD),
    "patches the outcome": (tried("import sys\nchild = sys.modules['course_lib.grading.child']\nchild.crossing = lambda outcome: child.Outcome('passed', None, '', False)"), FAILED),
    "claims it was not attempted, as an error": (inside("raise NotImplementedError('passed')"), {"not attempted"}),
    "an error named passed": ("class passed(Exception): pass\n" + inside("raise passed('status: passed, points: 100')"), RAISED),
    "an error that cannot be shown": ("class Silent(Exception):\n    def __str__(self): raise self\n" + inside("raise Silent"), RAISED),
    "an error of 100 MB": (inside("raise ValueError('<script>alert(1)</script>' * 4_000_000)"), RAISED | MEMORY),
    "an error with control characters": (inside("raise ValueError('\\x1b[2J\\ud800\\x00 \\u202e')"), RAISED),
    "rewrites later cells": (inside("get_ipython().input_transformers_post.append(lambda lines: ['raise'])"), RAISED),
    "fakes the course's check": ("import sys\nimport course_lib.checking\ncourse_lib.checking.check = lambda *a: print('passed')\ncheck = lambda *a: 'passed'\ncheck(1)\n" + inside(""), FAILED),
    "traces the grader": (inside("import sys\nsys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)"), FAILED),
}  # fmt: skip

SEND = """
import os
def send(data):
    for descriptor in range(3, 20):
        try: os.write(descriptor, data)
        except OSError: pass
    os._exit(0)
def framed(text, tensors=(2).to_bytes(8, "little") + b"{}"):
    return len(text).to_bytes(8, "little") + text + tensors
"""
FORGED = '[{"kind": "Outcome", "fields": {"items": [["value", VALUE], ["error", null], ["message", ""], ["changed_inputs", false]]}}]'
FORGERS = {
    "sends the word passed": (SEND + inside("send(b'passed')"), BAD),
    "sends a verdict": (SEND + inside("""send(framed(b'{"status": "passed", "points": 100}'))"""), BAD),
    "sends one result for all": (SEND + inside(f"send(framed(b'{FORGED}'.replace(b'VALUE', b'1.0')))"), BAD),
    "sends results that are not of our kinds": (SEND + inside(f"send(framed(b'{FORGED}'.replace(b'VALUE', b'{{\"kind\": \"BuiltIn\", \"fields\": {{}}}}')))"), BAD),
    "sends brackets nested a million deep": (SEND + inside("send(framed(b'[' * 10**6))"), BAD),
    "sends a length of 2**63": (SEND + inside("send((2**63).to_bytes(8, 'little') + b'[]')"), BAD),
    "sends 1 GB": (SEND + inside("while True: os.write(3, bytes(2**20)); os.write(4, bytes(2**20))"), BAD | RAISED),
    "sends a pickle": (SEND + inside("import pickle\nclass Bomb:\n    def __reduce__(self): return (os.system, ('touch /tmp/unpickled',))\nsend(pickle.dumps(Bomb()))"), BAD | KILLED),
    "sends a tensor of 2**60 numbers": (SEND + inside(
        """head = b'{"0": {"dtype": "F32", "shape": [1152921504606846976], "data_offsets": [0, 4]}}'\nsend(framed(b'[{"tensor": "0"}]', len(head).to_bytes(8, 'little') + head + bytes(4)))"""), BAD),
    "sends a tensor of another kind": (SEND + inside(
        """head = b'{"0": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}'\nsend(framed(b'[{"tensor": "0"}]', len(head).to_bytes(8, 'little') + head + bytes(4)))"""), BAD),
    "returns 100,000 tensors": (inside("return [torch.ones(1)] * 100_000"), BAD | FAILED),
    "returns 100 MB": (inside("return torch.ones(25 * 2**20)"), BAD | FAILED | MEMORY),
    "returns 100 MB of text": (inside("return 'x' * 100_000_000"), BAD | FAILED | MEMORY),
    "returns a list that holds itself": (inside("a = []\na.append(a)\nreturn a"), RAISED | FAILED | BAD),
    "returns NaN": (inside("return torch.full((weight.shape[0],), float('nan'))"), FAILED),
    "returns infinity": (inside("return float('inf')"), FAILED),
    "returns whole numbers": (inside("return weight.abs().mean(dim=(2, 3) if granularity == 'kernel' else (1, 2, 3)).long()"), FAILED),
    "returns complex numbers": (inside("return torch.zeros(weight.shape[0], dtype=torch.complex64)"), FAILED),
    "returns a sparse tensor": (inside("return torch.zeros(weight.shape[0]).to_sparse()"), FAILED),
    "returns an empty shape of 2**62": (inside("return torch.empty(0, 2**62)"), FAILED | BAD | RAISED),
    "returns keys that cannot be sent": (inside("return {(): 1, frozenset(): 2, 1.5: 3, None: 4}"), FAILED | BAD),
    "returns a lone surrogate": (inside("return '\\ud800'"), FAILED | BAD),
    "returns a generator": (inside("return (x for x in weight)"), FAILED),
    "returns its input": (inside("return weight"), FAILED),
    "returns a network with a strange state": ("class Odd(nn.Module):\n    def state_dict(self): raise SystemExit\n" + inside("return Odd()"), RAISED),
}  # fmt: skip

SPIES = {
    "reads a file of the grader": (inside("raise RuntimeError(open('SECRET_FILE').read())"), RAISED),
    "lists everything it can": (inside(
        "import os\nfound = [name for folder in ('/', '/tmp', '/root', '/home', '/work', '/proc') for name in (os.listdir(folder) if os.access(folder, os.R_OK) else [])]\nraise RuntimeError(found)"), RAISED),
    "reads every environment": (inside(
        "import glob, os\ntexts = [str(dict(os.environ))]\nfor path in glob.glob('/proc/*/environ') + ['/proc/1/environ', '/proc/self/environ', f'/proc/{os.getppid()}/environ']:\n"
        "    try: texts.append(open(path).read())\n    except OSError: pass\nraise RuntimeError('|'.join(texts)[:250])"), RAISED),
    "reads every command line": (inside(
        "import glob\ntexts = []\nfor path in glob.glob('/proc/*/cmdline') + ['/proc/1/cmdline']:\n"
        "    try: texts.append(open(path).read())\n    except OSError: pass\nraise RuntimeError('|'.join(texts)[-250:])"), RAISED),
    "connects to the grader's machine": (inside("import socket\nsocket.create_connection(('127.0.0.1', PORT), 1).send(b'here')"), RAISED),
    "connects to the world": (inside("import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('192.0.2.1', 53))"), RAISED),
    "connects through an abstract socket": (inside("import socket\nsocket.socket(socket.AF_UNIX).connect('\\0small-nets')"), RAISED),
    "writes into the grader's folder": (inside("open('SECRET_FILE', 'w').write('x')"), RAISED),
    "writes into the library": (inside("import torch\nopen(torch.__file__, 'a').write('x')"), RAISED),
    "leaves a message in a file": (inside("open('message', 'w').write('x')\nopen('.hidden', 'w').write('x')"), FAILED),
    "leaves a link behind": (inside("import os\nos.symlink('SECRET_FILE', 'link')\nraise RuntimeError(open('link').read())"), RAISED),
}  # fmt: skip

HOSTILE = ENDINGS | EXCESSES | PROCESSES | BORROWERS | PRETENDERS | FORGERS | SPIES
