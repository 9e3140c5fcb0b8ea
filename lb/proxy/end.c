/* The words of the table in end.h. */
#include "lb/proxy/end.h"

#define WHOSE_NOBODY   "nobody"
#define WHOSE_CLIENT   "client"
#define WHOSE_SERVER   "server"
#define WHOSE_POOL     "pool"
#define WHOSE_OPERATOR "operator"
#define WHOSE_US       "us"

const char *end_word(enum end_reason reason)
{
#define END_AS_WORD(name, whose, word) [END_##name] = word,
    static const char *const words[] = {END_REASONS(END_AS_WORD)};
    return words[reason];
}

const char *end_whose(enum end_reason reason)
{
#define END_AS_WHOSE(name, whose, word) [END_##name] = WHOSE_##whose,
    static const char *const names[] = {END_REASONS(END_AS_WHOSE)};
    return names[reason];
}
