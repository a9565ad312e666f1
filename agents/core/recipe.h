/* recipe.h - a recipe: a folder with recipe.yml that says how a stage is done and which parameters it takes.
 * Immutable after loading; any thread. */
#ifndef PTL_AGENT_RECIPE_H
#define PTL_AGENT_RECIPE_H
#include <portolan/json.h>
#include <portolan/wire.h>

struct ptl_recipe {
    char *name;       /* "tensorflow/tflite" */
    char *root, *dir; /* absolute: the folder of all recipes, this one's folder */
    json_t *doc;      /* recipe.yml, checked */
    enum ptl_stage_kind kind;
    enum ptl_host_kind host;
    const char *toolchain; /* NULL: none. Borrowed from doc, as the following are */
    const json_t *command; /* array of strings; NULL when a driver runs it */
    const json_t *driver;  /* object with "kind"; NULL when a command runs it */
    bool network;
};
/* The folder of recipes: $PORTOLAN_RECIPES, else beside the installed program. Caller frees. */
char *ptl_recipe_root(void);
/* -ENOENT names the nearest recipe there is; -EINVAL what is wrong in recipe.yml, with file and line or key.
 */
PTL_NODISCARD int ptl_recipe_load(const char *root, const char *name, struct ptl_recipe **ret,
                                  struct ptl_error *err);
struct ptl_recipe *ptl_recipe_free(struct ptl_recipe *r);
PTL_DEFINE_FREEP(struct ptl_recipe, ptl_recipe_free)

/* Names of all recipes below root as a JSON array of strings, in byte order. Broken ones are left out; each
 * gets a line in *ret_broken (may be NULL; array of strings). */
PTL_NODISCARD int ptl_recipe_list(const char *root, json_t **ret_names, json_t **ret_broken,
                                  struct ptl_error *err);

/* Checks `with` (object or NULL) against the recipe's parameters and fills in defaults: *ret_with is a new
 * object. Types: string path integer number boolean enum list. A path must lie below one of the directories
 * `path_roots` (NULL-ended; NULL: not checked for being there). Errors name the key, what was expected and
 * the nearest right spelling. */
PTL_NODISCARD int ptl_recipe_check_with(const struct ptl_recipe *r, const json_t *with,
                                        const char *const *path_roots, json_t **ret_with,
                                        struct ptl_error *err);
/* "fp32", "int8", "auto" …: what the recipe makes of these checked parameters. NULL when it does not say.
 * Borrowed. */
const char *ptl_recipe_precision(const struct ptl_recipe *r, const json_t *with);
/* `text` with {recipe}, and each {key} of the NULL-ended pairs key, value, …, replaced; unknown {words} stay.
 * Caller frees. */
char *ptl_template(const char *text, const char *const *pairs);
#endif
