/* What both drivers share: columns copied into fixed fields. */
#include "directory/sql.h"

void sql_copy_bytes(struct sql_stmt *q, int at, void *out, size_t len)
{
    struct slice s = sql_bytes(q, at);
    if (s.len == len && len > 0)
        memcpy(out, s.data, len);
    else
        memset(out, 0, len);
}

void sql_copy_text(struct sql_stmt *q, int at, char *out, size_t size)
{
    struct slice s = sql_bytes(q, at);
    size_t len = s.len < size ? s.len : size - 1;
    if (len > 0) memcpy(out, s.data, len);
    out[len] = '\0';
}

struct id sql_id(struct sql_stmt *q, int at)
{
    struct id id;
    sql_copy_bytes(q, at, id.bytes, ID_LEN);
    return id;
}
