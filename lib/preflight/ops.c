/* ops.c - what converters and runtimes know: lists made by lib/preflight/ops/make_tensorflow.py, and ONNX
 * Runtime's limits by version. */
#include "ops_tfjs.h"
#include "ops_tflite.h"
#include "preflight-private.h"

/* Finds "\nNAME\n" or, with a mark, "\nm NAME\n" in a sorted list of lines; the lists are small and asked a
 * few hundred times a model. */
static const char *line_of(const char *list, const char *name, size_t mark)
{
    size_t n = strlen(name);
    if (!n || n > 200)
        return NULL;
    for (const char *p = list; (p = strstr(p, name)); p += n)
        if (p > list + mark && p[n] == '\n' && p[-1 - (long)mark] == '\n')
            return p - mark;
    return NULL;
}

bool ops_tfjs_knows(const char *tf_op)
{
    /* what its converter takes away itself: constants' folding, identities of resources, calls of functions
     */
    static const char *const folded[] = {"VarHandleOp",
                                         "ReadVariableOp",
                                         "StatefulPartitionedCall",
                                         "PartitionedCall",
                                         "Const",
                                         "Placeholder",
                                         "NoOp",
                                         "Identity",
                                         "IdentityN",
                                         "BiasAdd",
                                         "VariableV2",
                                         "Assert",
                                         NULL};
    for (size_t i = 0; folded[i]; i++)
        if (ptl_str_eq(folded[i], tf_op))
            return true;
    return line_of(ptl_ops_tfjs, tf_op, 0) != NULL;
}

char ops_tflite_has(const char *tf_op)
{
    const char *l = line_of(ptl_ops_tflite, tf_op, 2);
    return l ? *l : 0;
}

/* Release -> operator set of ai.onnx and format that it reads: ONNX Runtime's table of versions to 1.23; 1.32
 * by asking it (its messages about a model of operator set 99 and of IR version 42 name both). In between,
 * the row below is sure and the row above is the most. */
bool ops_onnx_limits(const char *version, struct onnx_limits *ret)
{
    static const struct {
        const char *version;
        int opset, ir;
    } rows[] = {
        {"1.0",  11, 6 },
        {"1.3",  12, 6 },
        {"1.6",  13, 7 },
        {"1.8",  14, 7 },
        {"1.9",  15, 8 },
        {"1.11", 16, 8 },
        {"1.12", 17, 8 },
        {"1.14", 18, 8 },
        {"1.15", 19, 9 },
        {"1.17", 20, 9 },
        {"1.18", 21, 10},
        {"1.21", 22, 10},
        {"1.23", 23, 11},
        {"1.32", 28, 14}
    };
    size_t i = PTL_ARRAY_LEN(rows);
    while (i > 0 && version_compare(version, rows[i - 1].version) < 0)
        i--;
    if (i == 0)
        return false;
    ret->opset_sure = ret->opset_most = rows[i - 1].opset;
    ret->ir_sure = ret->ir_most = rows[i - 1].ir;
    if (i == PTL_ARRAY_LEN(
                 rows)) /* newer than what is known: it reads no less, how much more nobody here can say */
        ret->opset_most = ret->ir_most = 1000000;
    else if (version_compare(version, "1.23") >
             0) { /* the gap between the last two rows; the earlier ones have none */
        ret->opset_most = rows[i].opset;
        ret->ir_most = rows[i].ir;
    }
    /* exactly the newest row is known exactly */
    if (i == PTL_ARRAY_LEN(rows) && version_compare(version, "1.33") < 0) {
        ret->opset_most = rows[i - 1].opset;
        ret->ir_most = rows[i - 1].ir;
    }
    return true;
}
