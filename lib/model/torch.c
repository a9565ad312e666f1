/* torch.c - pickles (Torch's old files and the index of its archives) and safetensors. A pickle is a program:
 * it is walked over, never run, to learn which classes and functions it would import. */
#include "model-private.h"

/* Length of what follows an opcode; -1: unknown opcode. `at` is behind the opcode. */
static int64_t operand(struct bytes b, size_t at, uint8_t op)
{
    uint64_t n = 0;
    size_t left = b.n - at;
    const uint8_t *nl;
    switch (op) {
    case 'c':
    case 'i': /* two lines */
        nl = memchr(b.p + at, '\n', left);
        if (!nl || !(nl = memchr(nl + 1, '\n', b.n - (size_t)(nl + 1 - b.p))))
            return -1;
        return nl + 1 - (b.p + at);
    case 'F':
    case 'I':
    case 'L':
    case 'S':
    case 'V':
    case 'g':
    case 'p':
    case 'P': /* one line */
        nl = memchr(b.p + at, '\n', left);
        return nl ? nl + 1 - (b.p + at) : -1;
    case 'K':
    case 'h':
    case 'q':
    case 0x80:
    case 0x82:
        return 1;
    case 'M':
    case 0x83:
        return 2;
    case 'J':
    case 'j':
    case 'r':
    case 0x84:
        return 4;
    case 'G':
    case 0x95:
        return 8;
    case 'U':
    case 'C':
    case 0x8c:
    case 0x8a: /* a length of 1 byte */
        return left < 1 ? -1 : 1 + b.p[at];
    case 'T':
    case 'X':
    case 'B':
    case 0x8b: /* of 4 */
        if (left < 4)
            return -1;
        for (int i = 0; i < 4; i++)
            n |= (uint64_t)b.p[at + (size_t)i] << 8 * i;
        return (int64_t)(4 + n);
    case 0x8d:
    case 0x8e:
    case 0x96: /* of 8 */
        if (left < 8)
            return -1;
        for (int i = 0; i < 8; i++)
            n |= (uint64_t)b.p[at + (size_t)i] << 8 * i;
        return n > (uint64_t)1 << 48 ? -1 : (int64_t)(8 + n);
    default:
        return strchr("(.01223aobdel}])QRstu~N", op) || (op >= 0x81 && op <= 0x98) ? 0 : -1;
    }
}

static void global(json_t *facts, struct bytes module, struct bytes name)
{
    char full[300];
    int n = snprintf(full, sizeof(full), "%.*s.%.*s", (int)(module.n < 140 ? module.n : 140),
                     (const char *)module.p, (int)(name.n < 140 ? name.n : 140), (const char *)name.p);
    fact_add(facts, "globals", full, (size_t)n);
}

/* Walks one pickle; returns the bytes it took, 0 when it does not end. */
static size_t walk(json_t *facts, struct bytes b)
{
    struct bytes text[2] = {
        {NULL, 0},
        {NULL, 0}
    }; /* the last two strings: what STACK_GLOBAL takes */
    for (size_t at = 0, steps = 0; at < b.n && steps < 20000000; steps++) {
        uint8_t op = b.p[at++];
        int64_t n = operand(b, at, op);
        if (n < 0 || (uint64_t)n > b.n - at)
            return 0;
        if (op == 'c' || op == 'i') {
            const uint8_t *nl = memchr(b.p + at, '\n', (size_t)n);
            global(facts, (struct bytes){b.p + at, (size_t)(nl - (b.p + at))},
                   (struct bytes){nl + 1, (size_t)(b.p + at + n - 1 - (nl + 1))});
        } else if (op == 'X' || op == 0x8c || op == 'U') {
            size_t head = op == 'X' ? 4 : 1;
            text[0] = text[1];
            text[1] = (struct bytes){b.p + at + head, (size_t)n - head};
        } else if (op == 0x93 && text[0].p) {
            global(facts, text[0], text[1]);
        }
        at += (size_t)n;
        if (op == '.')
            return at;
    }
    return 0;
}

static bool has_global(const json_t *facts, const char *prefix)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(facts, "globals"), i,
                       v) if (ptl_str_starts(json_string_value(v), prefix)) return true;
    return false;
}

/* What loading it gives: tensors only, or objects of classes that must be importable. */
static void holds(json_t *facts)
{
    static const char *const plain[] = {"torch._utils.",
                                        "torch.FloatStorage",
                                        "torch.HalfStorage",
                                        "torch.DoubleStorage",
                                        "torch.LongStorage",
                                        "torch.IntStorage",
                                        "torch.ShortStorage",
                                        "torch.CharStorage",
                                        "torch.ByteStorage",
                                        "torch.BoolStorage",
                                        "torch.BFloat16Storage",
                                        "torch.storage.",
                                        "collections.OrderedDict",
                                        "torch._tensor.",
                                        "torch.serialization.",
                                        "torch.device",
                                        "torch.float",
                                        "torch.int",
                                        "torch.bfloat16",
                                        "torch.Size",
                                        "torch.nn.parameter.",
                                        "_codecs.encode",
                                        "builtins.set",
                                        "builtins.dict",
                                        "numpy.",
                                        NULL};
    bool other = false, module = false;
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(facts, "globals"), i, v)
    {
        bool known = false;
        for (size_t k = 0; plain[k]; k++)
            known = known || ptl_str_starts(json_string_value(v), plain[k]);
        other = other || !known;
        module = module || ptl_str_starts(json_string_value(v), "torch.nn.modules") ||
                 ptl_str_starts(json_string_value(v), "__main__.");
    }
    bool torch = has_global(facts, "torch.");
    json_object_set_new(facts, "holds",
                        json_string(module && torch   ? "module"
                                    : torch && !other ? "state_dict"
                                                      : "object"));
}

void pickle_globals(json_t *facts, struct bytes b)
{
    if (!walk(facts, b))
        fact_problem(facts, "its pickle does not end: it is cut off or damaged");
    holds(facts);
}

int read_pickle(const char *dir PTL_UNUSED, const char *path PTL_UNUSED, struct bytes b, json_t *facts,
                struct ptl_error *err PTL_UNUSED)
{
    static const uint8_t magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                    0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    bool torch = b.n > sizeof(magic) && memcmp(b.p, magic, sizeof(magic)) == 0;
    json_object_set_new(facts, "format", json_string(torch ? "torch" : "pickle"));
    json_object_set_new(facts, "weights_bytes", json_integer((json_int_t)b.n));
    /* torch before 1.6: magic, protocol, system, then the object, one pickle each */
    size_t at = 0;
    for (int i = 0; i < (torch ? 4 : 1) && at < b.n; i++) {
        size_t n = walk(facts, (struct bytes){b.p + at, b.n - at});
        if (!n) {
            fact_problem(facts, "its pickle does not end: it is cut off or damaged");
            break;
        }
        at += n;
    }
    holds(facts);
    return 0;
}

int read_safetensors(const char *dir PTL_UNUSED, const char *path PTL_UNUSED, struct bytes b, json_t *facts,
                     struct ptl_error *err PTL_UNUSED)
{
    uint64_t n = 0, last = 0;
    const char *name;
    json_t *v;
    for (int i = 0; i < 8 && b.n >= 8; i++)
        n |= (uint64_t)b.p[i] << 8 * i;
    if (b.n < 8 || n > b.n - 8 || n > PTL_MODEL_JSON_MAX) {
        fact_problem(facts, "is cut off or damaged: its head does not fit into %zu bytes", b.n);
        return 0;
    }
    PTL_JSON *head = json_loadb((const char *)b.p + 8, (size_t)n, 0, NULL);
    if (!json_is_object(head)) {
        fact_problem(facts, "its head is no JSON object");
        return 0;
    }
    json_object_foreach(head, name, v)
    {
        const json_t *at = json_object_get(v, "data_offsets");
        uint64_t end = json_array_size(at) == 2 ? (uint64_t)json_integer_value(json_array_get(at, 1)) : 0;
        last = end > last ? end : last;
    }
    json_object_set_new(facts, "weights_bytes",
                        json_integer((json_int_t)(last < (uint64_t)1 << 62 ? last : 0)));
    json_object_set_new(facts, "holds", json_string("state_dict"));
    if (last > b.n - 8 - n)
        fact_problem(facts, "is cut off: its tensors need %llu bytes and it has %llu",
                     (unsigned long long)last, (unsigned long long)(b.n - 8 - n));
    return 0;
}
