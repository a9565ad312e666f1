/* main.c - portolan, the command line over the API. Everything is in cli.c and the table in commands.c. */
#include "cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, (const char *const *)argv, stdout, stderr);
}
