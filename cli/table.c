/* table.c - aligned columns, measured in what a terminal shows. When the terminal is narrower than the table,
 * the widest of the columns that may shrink gives way; elsewhere (a pipe) nothing is cut. Pure. */
#include "cli.h"

struct cell {
    char *text; /* clean */
    enum cli_style style;
};
struct cli_table {
    const struct cli_column *columns;
    size_t n, n_cells, cap;
    struct cell *cells;
};
enum { GAP = 2, SHRINK_MIN = 8 };

struct cli_table *cli_table_new(const struct cli_column *columns, size_t n)
{
    struct cli_table *t = ptl_xcalloc(1, sizeof(*t));
    t->columns = columns;
    t->n = n;
    return t;
}

void cli_table_free(struct cli_table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(t);
}

void cli_table_cell(struct cli_table *t, enum cli_style style, const char *fmt, ...)
{
    if (t->n_cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = reallocarray(t->cells, t->cap, sizeof(*t->cells));
        if (!t->cells)
            abort();
    }
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    t->cells[t->n_cells++] = (struct cell){cli_clean(*text ? text : "-"), style};
    free(text);
}

size_t cli_table_rows(const struct cli_table *t)
{
    return t->n_cells / t->n;
}

void cli_styled(struct ptl_buf *b, enum cli_style style, bool color, const char *text)
{
    static const char *const codes[] = {"", "1", "2", "32", "31", "33", "36"};
    if (color && style != CLI_PLAIN)
        ptl_buf_printf(b, "\033[%sm%s\033[0m", codes[style], text);
    else
        ptl_buf_puts(b, text);
}

enum cli_style cli_state_style(const char *state)
{
    static const struct {
        const char *state;
        enum cli_style style;
    } styles[] = {
        {"green",      CLI_GREEN },
        {"red",        CLI_RED   },
        {"invalid",    CLI_RED   },
        {"cancelled",  CLI_YELLOW},
        {"gated",      CLI_YELLOW},
        {"cancelling", CLI_YELLOW},
        {"running",    CLI_CYAN  },
        {"claimed",    CLI_CYAN  },
        {"deciding",   CLI_YELLOW},
        {"preparing",  CLI_CYAN  },
        {"waiting",    CLI_DIM   },
        {"queued",     CLI_DIM   },
        {"skipped",    CLI_DIM   },
        {"active",     CLI_GREEN },
        {"draining",   CLI_YELLOW},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(styles); i++)
        if (ptl_str_eq(styles[i].state, state))
            return styles[i].style;
    return CLI_PLAIN;
}

static void put_cell(struct ptl_buf *b, const struct cli_column *column, const char *text, size_t width,
                     enum cli_style style, bool color, bool last)
{
    PTL_FREE char *shown = cli_cut(text, width);
    size_t pad = width - cli_width(shown);
    for (size_t i = 0; column->right && i < pad; i++)
        ptl_buf_putc(b, ' ');
    cli_styled(b, style, color, shown);
    for (size_t i = 0; !column->right && !last && i < pad; i++) /* no blanks at the end of a line */
        ptl_buf_putc(b, ' ');
    ptl_buf_puts(b, last ? "\n" : "  ");
}

static void shrink(const struct cli_table *t, size_t *widths, int width)
{
    for (;;) {
        size_t sum = 0, widest = t->n;
        for (size_t k = 0; k < t->n; k++) {
            sum += widths[k] ? widths[k] + GAP : 0;
            if (t->columns[k].shrinks && widths[k] > SHRINK_MIN &&
                (widest == t->n || widths[k] > widths[widest]))
                widest = k;
        }
        if (sum <= (size_t)width + GAP || widest == t->n)
            return;
        widths[widest]--;
    }
}

void cli_table_print(const struct cli_table *t, struct ptl_buf *ret, int width, bool color)
{
    size_t *widths = ptl_xcalloc(t->n, sizeof(*widths)), rows = cli_table_rows(t), last = 0;
    for (size_t k = 0; k < t->n; k++) {
        bool any = rows == 0;
        for (size_t row = 0; row < rows; row++) {
            size_t w = cli_width(t->cells[row * t->n + k].text);
            widths[k] = w > widths[k] ? w : widths[k];
            any |= !ptl_str_eq(t->cells[row * t->n + k].text, "-");
        }
        size_t w = cli_width(t->columns[k].title);
        widths[k] = !any ? 0 : w > widths[k] ? w : widths[k];
        last = widths[k] ? k : last;
    }
    if (width > 0)
        shrink(t, widths, width);
    for (size_t k = 0; k < t->n; k++)
        if (widths[k])
            put_cell(ret, &t->columns[k], t->columns[k].title, widths[k], CLI_BOLD, color, k == last);
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < t->n; k++)
            if (widths[k])
                put_cell(ret, &t->columns[k], t->cells[row * t->n + k].text, widths[k],
                         t->cells[row * t->n + k].style, color, k == last);
    free(widths);
}
