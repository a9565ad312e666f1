/* keys-private.h - the one table of the pipeline file's keys. The parser, the JSON Schema and the advice for
 * misspelled keys are all read from it. */
#ifndef PTL_SPEC_KEYS_PRIVATE_H
#define PTL_SPEC_KEYS_PRIVATE_H
#include <portolan/base.h>

enum spec_type {
    T_TEXT,     /* any text, min..max bytes */
    T_NAME,     /* letters, digits, '.', '_', '-'; starts with a letter or digit; at most max bytes */
    T_USES,     /* family/name */
    T_BOOL,     /* and "no value" means true */
    T_INT,      /* min..max */
    T_NUMBER,   /* min..max */
    T_DURATION, /* "20m", a bare number is seconds; min..max ms; gives ms */
    T_MINUTES,  /* a number of minutes; min..max ms; gives ms */
    T_LATENCY,  /* "20ms", "0.8ms", "500us"; unit required; gives ms */
    T_SIZE,     /* "200KiB"; gives bytes */
    T_WORD,     /* one of `words` */
    T_WORDS,    /* one or a list of `words` */
    T_WHEN,     /* one of `words`, or "risk > X": gives {"risk_above": X} */
    T_PEOPLE,   /* one or a list of handles of people */
    T_STRINGS,  /* one or a list of texts */
    T_PATHS,    /* one or a list of safe relative paths */
    T_SECRETS,  /* one or a list of names of environment variables */
    T_LABELS,   /* one or a list of labels, or a map (k: v is the label k=v) */
    T_ENV,      /* map: name of a variable → text */
    T_COMMANDS, /* one or a list of shell command lines */
    T_ANY,      /* a map of anything */
    T_MATRIX,   /* map: axis → list; include, exclude */
    T_OBJECT,   /* `object` */
    T_OBJECTS,  /* one or a list of `object` */
    T_MAP,      /* map: name → `object` */
};

/* A word and what it means in the plan (several, comma-separated, for T_WORDS). */
struct spec_word {
    const char *word, *means;
};

struct spec_object;
struct spec_key {
    const char *name; /* as documented; '_' and '-' are the same when reading */
    const char *out;  /* name in the checked document; two keys with one `out` are the same thing */
    enum spec_type type;
    double min, max;
    const struct spec_word *words; /* ends with {NULL} */
    const struct spec_object *object;
    const char *const *aliases; /* other spellings that CI users know; NULL-ended */
    bool required;
    const char *help;
};

/* Words of other tools that have no equal here, and what to write. */
struct spec_foreign {
    const char *word, *advice;
};

struct spec_object {
    const char *id; /* name in the schema's $defs */
    const char *what;
    const struct spec_key *keys;
    size_t n;
    const char *scalar_key; /* a bare scalar stands for {scalar_key: scalar} */
    bool from_words;        /* a word, or a list of words, stands for a map of keys without value */
    const struct spec_foreign *foreign;
};

extern const struct spec_object spec_root;

const struct spec_key *spec_key_find(const struct spec_object *o, const char *name);
/* "uses, run, with": every key's documented name. Writes at most size bytes. */
void spec_key_list(const struct spec_object *o, char *ret, size_t size);
const char *spec_key_nearest(const struct spec_object *o, const char *name);
const char *spec_key_foreign(const struct spec_object *o, const char *name);
#endif
