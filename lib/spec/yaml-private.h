/* yaml-private.h - a YAML document as a tree that knows where everything stands. */
#ifndef PTL_YAML_PRIVATE_H
#define PTL_YAML_PRIVATE_H
#include <portolan/json.h>

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_pair {
    struct yaml_node *key, *value; /* keys are scalars */
};
struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column; /* from 1 */
    bool plain;            /* a scalar without quotes: may be null, a bool, a number */
    char *text;            /* scalar */
    struct yaml_pair *pairs;
    struct yaml_node **items;
    size_t n;        /* pairs or items */
    unsigned height; /* levels below it */
    uint32_t weight; /* nodes below and including this one, aliases counted as what they stand for */
};

struct yaml_tree; /* owns every node; an alias is the anchored node itself, so a tree may share branches,
                     never cycles */

struct yaml_fault {
    unsigned line, column;
    char text[256];
};

/* 0 with *ret; -EINVAL with *fault; -ENOMEM. The root may be any kind. */
PTL_NODISCARD int yaml_tree_parse(const char *text, size_t len, struct yaml_tree **ret,
                                  struct yaml_fault *fault);
struct yaml_tree *yaml_tree_free(struct yaml_tree *t);
PTL_DEFINE_FREEP(struct yaml_tree, yaml_tree_free)
const struct yaml_node *yaml_root(const struct yaml_tree *t);

bool yaml_is_null(const struct yaml_node *n);
bool yaml_is_bool(const struct yaml_node *n, bool *ret); /* true/false/yes/no/on/off, plain */
bool yaml_is_number(const struct yaml_node *n, double *ret);
json_t *yaml_scalar_json(const struct yaml_node *n);
json_t *yaml_to_json(const struct yaml_node *n); /* NULL: out of memory */
#endif
