"""What TFLite's converter and TensorFlow.js know of TensorFlow's operators, asked of the real ones (agents/toolchains/tensorflow).

    TOOLCHAIN/bin/python3 make_tensorflow.py tflite > tflite.txt     builds a function of each operator and converts it: about 20 minutes; names behind it: those only
    TOOLCHAIN/bin/python3 make_tensorflow.py tfjs > tfjs.txt         the operator lists that the TensorFlow.js converter checks against

tflite.txt: "b Name" a builtin operator does it, "f Name" only a Select TF operator, "c Name" neither. Operators of which no function could be
built (state, input pipelines, training) are left out: about them nothing is said. The converter ends the whole process on a few operators, so
each batch runs in a process of its own.
"""
import glob, json, os, re, subprocess, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

SKIP = re.compile(r"^(_|Dataset|.*Dataset|Iterator|.*Iterator|TPU|.*Summary|Collective|Xla|.*Queue|.*Reader|Save|Restore|.*Checkpoint|Assert|Print|.*Barrier|Infeed|Outfeed|.*TPU|Configure|.*Boosted|"
                  r"Recv|Send|Abort|Shutdown|.*Session|PyFunc|EagerPyFunc|.*Apply|RunGraph|.*ResourceHandle|Write|Read|Nccl|Batch$|Unbatch|BatchFunction|.*Grad$|Debug|Fake(?!Quant)|Risc|Uniform|.*Mutex|.*Stats|Host|Device)")
SMALL = ("Tidx", "Tindices", "Tpaddings", "Tshape", "Tmultiples", "Tperm", "Index", "Taxis", "Tdim", "index_type", "Tdims", "Tn", "Tsegmentids", "Tnumsegments", "T_shape", "size_type")


def attempt(tf, name):
    from tensorflow.python.framework import op_def_registry
    if name == "Dilation2D":  # wants a filter of another rank than its input, which the tries below never give it
        fn = tf.function(lambda x: tf.nn.dilation2d(x, tf.ones([1, 1, 3]), [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1]), input_signature=[tf.TensorSpec([2, 4, 4, 3])]).get_concrete_function()
        try:
            tf.lite.TFLiteConverter.from_concrete_functions([fn]).convert()
            return "b"
        except Exception as e:
            return "f" if re.search(r"(Flex|TF Select) ops: .*Dilation2D", str(e)) else "c"
    opdef, found = op_def_registry.get(name), None
    if opdef is None or any(a.number_attr or a.type_list_attr for a in opdef.input_arg) or not opdef.input_arg: return None
    for shape in ([2, 4, 4, 3], [2, 4, 4], [4, 4], [4], []):
        for kind in (tf.float32, tf.int32, tf.string, tf.bool, tf.complex64):
            typed, attrs, fits = [], {}, True
            for a in opdef.input_arg:
                t = tf.dtypes.as_dtype(a.type) if a.type else kind
                allowed = next(([tf.dtypes.as_dtype(v) for v in x.allowed_values.list.type] for x in opdef.attr if not a.type and x.name == a.type_attr and x.HasField("allowed_values")), None)
                if allowed and kind not in allowed:
                    if a.type_attr in SMALL: t = tf.int32
                    else: fits = False
                if not a.type and a.type_attr in SMALL: t = tf.int32
                if t in (tf.resource, tf.variant): fits = False
                typed.append((a.name, t))
            for x in opdef.attr:
                if x.HasField("default_value") or x.name in [a.type_attr for a in opdef.input_arg]: continue
                value = {"type": kind, "int": 1, "list(int)": [1, 1, 1, 1], "string": "SAME", "float": 0.5, "bool": False, "shape": [4]}.get(x.type)
                if value is None: fits = False
                attrs[x.name] = value
            if not fits: continue
            # what else an operator takes (axes, paddings, depths) is a constant in most models, and must be for some builtin operators
            for rest, constant in [(r, c) for c in (True, False) for r in (shape, [], [1], [4], [2, 2], [2], [4, 2], [3, 2])]:
                def call(*xs):
                    more = [tf.cast(tf.ones(rest), t) if t != tf.string else tf.fill(rest or [], "a") for _, t in typed[len(xs):]]
                    return getattr(tf.raw_ops, name)(**{n: x for (n, _), x in zip(typed, list(xs) + more)}, **attrs)
                specs = [tf.TensorSpec(s, t) for (_, t), s in zip(typed, [shape] + ([] if constant else [rest] * (len(typed) - 1)))]
                try:
                    fn = tf.function(call, input_signature=specs).get_concrete_function()
                except Exception:
                    continue
                if not any(o.type == name for o in fn.graph.get_operations()): break
                try:
                    tf.lite.TFLiteConverter.from_concrete_functions([fn]).convert()
                    return "b"
                except Exception as e:
                    text = str(e)
                    if re.search(r"(Flex|TF Select) ops: .*\b(Flex)?%s\b" % name, text): found = found or "f"
                    elif re.search(r"Custom ops: .*\b%s\b" % name, text): found = found or "c"
                if len(typed) == 1: break
    return found


def worker(names):
    import tensorflow as tf
    for n in names:
        print("try", n, flush=True)
        r = attempt(tf, n)
        if r: print(r, n, flush=True)


def tflite():
    import tensorflow as tf
    names = sys.argv[2:] or [n for n in dir(tf.raw_ops) if n[0].isupper() and not SKIP.match(n)]
    print("# TFLite converter of TensorFlow %s" % tf.__version__)
    found = {}
    while names:
        try:
            out = subprocess.run([sys.executable, __file__, "worker"] + names[:40], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300).stdout.decode()
        except subprocess.TimeoutExpired as e:
            out = (e.stdout or b"").decode()
        lines = [l.split() for l in out.splitlines() if l[:2] in ("b ", "f ", "c ") or l.startswith("try ")]
        tried = [l[1] for l in lines if l[0] == "try"]
        found.update({l[1]: l[0] for l in lines if l[0] != "try"})
        done = len(tried) if tried else 1
        names = names[done:]
        sys.stderr.write("%d to go\n" % len(names))
    for n in sorted(found): print(found[n], n)


def tfjs():
    import tensorflowjs
    folder = os.path.join(os.path.dirname(tensorflowjs.__file__), "op_list")
    print("# TensorFlow.js converter %s" % tensorflowjs.__version__)
    for n in sorted({o["tfOpName"] for f in glob.glob(folder + "/*.json") for o in json.load(open(f))}): print(n)


{"tflite": tflite, "tfjs": tfjs, "worker": lambda: worker(sys.argv[2:])}[sys.argv[1]]()
