/* The table of problems, unrolled three times. */
#include "wire/problem.h"

static const char *const codes[] = {
#define X(name, code, status, text) code,
    PROBLEM_TABLE(X)
#undef X
};
static const unsigned statuses[] = {
#define X(name, code, status, text) status,
    PROBLEM_TABLE(X)
#undef X
};
static const char *const texts[] = {
#define X(name, code, status, text) text,
    PROBLEM_TABLE(X)
#undef X
};

const char *problem_code(enum problem p)
{
    SOTTO_ASSERT((unsigned)p < PROBLEM_COUNT);
    return codes[p];
}

unsigned problem_status(enum problem p)
{
    SOTTO_ASSERT((unsigned)p < PROBLEM_COUNT);
    return statuses[p];
}

const char *problem_text(enum problem p)
{
    SOTTO_ASSERT((unsigned)p < PROBLEM_COUNT);
    return texts[p];
}
