/* What sottod's exit status says. Documented in docs/operations.md. */
#ifndef SOTTO_SERVER_EXIT_CODES_H
#define SOTTO_SERVER_EXIT_CODES_H

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,  /* the command did not do its work; stderr says why */
    EXIT_CODE_USAGE = 2,   /* the command line is wrong */
    EXIT_CODE_CONFIG = 3,  /* the configuration is wrong */
    EXIT_CODE_DAMAGED = 4, /* stored data is damaged */
    EXIT_CODE_IN_USE = 5,  /* the address or the data directory belongs to another process */
};

#endif
