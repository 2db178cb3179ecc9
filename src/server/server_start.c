/* Bringing the parts up, and taking them down.
 *
 * Order: directory lock, log, stores (which refuse damaged data), engine,
 * workers, gateway with its listeners, admin socket; the threads start when
 * everything is open. The engine is made before the gateway, which it publishes
 * to, so it publishes through the server; it does so only once started.
 *
 * Down: the gateway drains while engine and workers still answer; then the
 * engine commits and stops, the workers end, and only then the loops, into
 * whose mailboxes both have answered.
 */
#include "server/server_private.h"
#include "api/api.h"
#include "server/values.h"
#include "store/store_rocksdb.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_QUEUE_MAX = 128 };

static unsigned cores_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static unsigned loops_count(const struct config *c)
{
    unsigned n = c->io_threads > 0 ? (unsigned)c->io_threads : cores_count();
    return n > GATEWAY_LOOPS_MAX ? GATEWAY_LOOPS_MAX : n;
}

static unsigned workers_count(const struct config *c)
{
    unsigned n = c->worker_threads > 0 ? (unsigned)c->worker_threads : cores_count();
    return n < 2 && c->worker_threads == 0 ? 2 : n;
}

/* As many descriptors as the system lets us have. */
static void raise_file_limit(struct server *s)
{
    enum { OWN_FILES = 512 }; /* databases, logs, listeners */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t wanted = (rlim_t)s->loaded.config.limits.connections_max + OWN_FILES;
    if (limit.rlim_max < wanted) {
        struct rlimit more = {wanted, wanted}; /* root may raise the hard limit too */
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        LOG(s->log, LOG_WARN, "server.file_limit", LOG_I("errno", errno));
    }
    if (limit.rlim_cur < wanted) {
        LOG(s->log, LOG_WARN, "server.file_limit", LOG_U("files", limit.rlim_cur), LOG_U("wanted", wanted),
            LOG_S("hint", "raise the limit of open files (ulimit -n, LimitNOFILE) or lower connections-max"));
    }
}

/* glibc would make eight heaps per core, each with its own leftovers. */
static void limit_heaps(const struct config *c)
{
    unsigned heaps = loops_count(c);
    mallopt(M_ARENA_MAX, heaps < 2 ? 2 : (int)heaps);
}

static enum exit_code complain(enum sotto_err err, struct buffer *why)
{
    if (why->len == 0) buffer_printf(why, "The server cannot start (%s).", sotto_err_name(err));
    fprintf(stderr, "sottod: %.*s\n", (int)why->len, (const char *)why->data);
    switch (err) {
    case SOTTO_ERR_CORRUPT: return EXIT_CODE_DAMAGED;
    case SOTTO_ERR_CONFLICT:
    case SOTTO_ERR_DENIED:
    case SOTTO_ERR_EXISTS: return EXIT_CODE_IN_USE;
    default: return EXIT_CODE_FAILED;
    }
}

static enum sotto_err open_directory(struct server *s, struct buffer *why)
{
    const struct config *c = &s->loaded.config;
    char path[PATH_MAX_LEN + 64];
    if (!datadir_path(&s->dir, "directory.db", path)) return SOTTO_ERR_INVALID;
    struct directory_options options = {
        .file = path,
        .clock = s->services.clock,
        .random = s->services.random,
        .log = s->log,
        .metrics = s->metrics,
        .registration = (enum registration_policy)c->registration,
        .cache_bytes = c->directory_cache_bytes,
        .argon2_ops = c->argon2_passes,
        .argon2_mem_bytes = c->argon2_memory_bytes,
        .prekeys_low = (uint32_t)c->prekeys_low,
    };
    return directory_open(&options, why, &s->directory);
}

static enum sotto_err open_store(struct server *s, struct buffer *why)
{
    const struct config *c = &s->loaded.config;
    char path[PATH_MAX_LEN + 64];
    if (!datadir_path(&s->dir, "store", path)) return SOTTO_ERR_INVALID;
    struct store_rocksdb_options options = {
        .directory = path,
        .block_cache_bytes = c->store_cache_bytes,
        .write_buffer_bytes = c->store_write_buffer_bytes,
        .reserve_bytes = c->disk_reserve_bytes,
        .log = s->log,
    };
    return store_rocksdb_open(&options, why, &s->store);
}

static void publish(void *ctx, struct event *const *events, size_t count)
{
    struct server *s = ctx;
    gateway_publish(s->gateway, events, count);
}

static enum sotto_err create_engine(struct server *s, struct buffer *why)
{
    const struct config *c = &s->loaded.config;
    struct engine_options options = {
        .store = s->store,
        .clock = s->services.clock,
        .random = s->services.random,
        .log = s->log,
        .metrics = s->metrics,
        .publish = publish,
        .publish_ctx = s,
        .retention_days = c->retention_days,
        .cache_conversations = c->conversation_cache,
        .housekeeping_ms = c->housekeeping_ms,
    };
    return engine_create(&options, why, &s->engine);
}

/* The listeners share their port among our loops (SO_REUSEPORT), and so would
 * another server of the same user, silently. So we ask for it alone first. */
static enum sotto_err check_port_free(const char *host, uint16_t port, struct buffer *why)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    char service[8];
    int one = 1, off = 0;
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    if (port == 0 || getaddrinfo(host, service, &hints, &found) != 0) return SOTTO_OK; /* the listener will say */
    enum sotto_err err = SOTTO_OK;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && found->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 && errno == EADDRINUSE) {
        buffer_printf(why, "Port %u of %s is in use by another process. Stop that one, or choose another port with --port.",
                      (unsigned)port, host);
        err = SOTTO_ERR_EXISTS;
    }
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
    return err;
}

/* Takes the next address of the comma-separated list; false at its end. */
static bool next_address(const char **list, char out[256])
{
    while (**list != '\0') {
        size_t len = strcspn(*list, ",");
        struct slice host = value_trim(slice_of(*list, len));
        *list += (*list)[len] == ',' ? len + 1 : len;
        if (host.len == 0) continue;
        snprintf(out, 256, "%.*s", (int)host.len, (const char *)host.data);
        return true;
    }
    return false;
}

static enum sotto_err listen_all(struct server *s, struct buffer *why)
{
    const struct config *c = &s->loaded.config;
    uint16_t port = (uint16_t)c->port;
    char host[256];
    enum sotto_err err = SOTTO_OK;
    /* All first: our own listeners would be in the way. */
    for (const char *at = c->listen; err == SOTTO_OK && next_address(&at, host);) err = check_port_free(host, port, why);
    for (const char *at = c->listen; err == SOTTO_OK && next_address(&at, host);) {
        err = gateway_listen(s->gateway, host, port, s->tls, why);
        if (err == SOTTO_OK && port == 0) port = gateway_port(s->gateway); /* the same one on every address */
    }
    return err;
}

static enum sotto_err create_gateway(struct server *s, struct buffer *why)
{
    const struct config *c = &s->loaded.config;
    struct gateway_options options = {
        .services = &s->services,
        .limits = &c->limits,
        .operations = api_operations,
        .loops_count = loops_count(c),
        .page = server_page,
        .page_ctx = s,
    };
    enum sotto_err err = SOTTO_OK;
    if (c->tls_cert[0] != '\0') err = tls_server_create(c->tls_cert, c->tls_key, why, &s->tls);
    server_note_certificate(s);
    if (err == SOTTO_OK) err = gateway_create(&options, &s->gateway);
    if (err == SOTTO_OK) err = listen_all(s, why);
    return err;
}

static enum sotto_err open_admin(struct server *s, struct buffer *why)
{
    s->backup = (struct backup_sources){s->store, s->directory, &s->dir, s->services.clock, SOTTO_VERSION};
    struct admin_options options = {&s->backup, s->workers, s->log};
    return admin_listen(&options, why, &s->admin);
}

static void make_services(struct server *s)
{
    const struct config *c = &s->loaded.config;
    s->log = log_create(STDERR_FILENO, (enum log_level)c->log_level, c->log_form == LOG_FORM_JSON, clock_system());
    s->metrics = metrics_create();
    s->services = (struct services){
        .clock = clock_system(),
        .random = random_system(),
        .log = s->log,
        .metrics = s->metrics,
        .registration = (enum registration_policy)c->registration,
        .server_name = c->server_name,
        .version = SOTTO_VERSION,
    };
}

static enum sotto_err open_parts(struct server *s, struct buffer *why)
{
    enum sotto_err err = datadir_open(s->loaded.config.data_dir, true, s->log, why, &s->dir);
    if (err == SOTTO_OK) err = datadir_lock(&s->dir, why);
    if (err == SOTTO_OK) datadir_remove(&s->dir, "port"); /* left by a server that was killed */
    if (err == SOTTO_OK) err = datadir_check_rights(&s->dir, why);
    if (err == SOTTO_OK) err = datadir_check_whole(&s->dir, why);
    if (err == SOTTO_OK) err = open_directory(s, why);
    if (err == SOTTO_OK) err = open_store(s, why);
    if (err == SOTTO_OK) err = datadir_mark_store(&s->dir, why);
    if (err == SOTTO_OK) err = create_engine(s, why);
    if (err != SOTTO_OK) return err;
    unsigned workers = workers_count(&s->loaded.config);
    s->workers = workers_create(workers, SOTTO_WORK_QUEUE_MAX);
    /* Half of the cores at most, and a queue that is worked off in seconds. */
    s->hashers = workers_create(workers < 4 ? 1 : workers / 2, HASH_QUEUE_MAX);
    s->services.directory = s->directory;
    s->services.engine = s->engine;
    s->services.workers = s->workers;
    s->services.hashers = s->hashers;
    err = create_gateway(s, why);
    if (err == SOTTO_OK) err = open_admin(s, why);
    return err;
}

static void write_port(struct server *s)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u\n", (unsigned)gateway_port(s->gateway));
    if (datadir_write(&s->dir, "port", slice_of(text, (size_t)len)) != SOTTO_OK) {
        LOG(s->log, LOG_WARN, "server.port_file", LOG_I("errno", errno));
    }
}

enum exit_code server_start(struct server *s)
{
    struct buffer why;
    buffer_init(&why, 4096);
    umask(077);
    make_services(s);
    limit_heaps(&s->loaded.config);
    raise_file_limit(s);
    enum sotto_err err = open_parts(s, &why);
    if (err != SOTTO_OK) {
        enum exit_code code = complain(err, &why);
        buffer_deinit(&why);
        return code;
    }
    buffer_deinit(&why);
    atomic_store(&s->metrics_for, s->loaded.config.metrics);
    s->started_s = clock_wall_ms(s->services.clock) / 1000;
    server_observe(s);
    server_prepare_welcome(s);
    directory_on_change(s->directory, gateway_directory_change, s->gateway);
    engine_start(s->engine);
    gateway_start(s->gateway);
    s->serving = true;
    server_welcome(s);
    write_port(s); /* last: whoever waits for it finds everything in place */
    LOG(s->log, LOG_INFO, "server.start", LOG_S("version", SOTTO_VERSION), LOG_S("listen", s->loaded.config.listen),
        LOG_U("port", gateway_port(s->gateway)), LOG_S("tls", s->tls != NULL ? "on" : "off"),
        LOG_U("loops", loops_count(&s->loaded.config)), LOG_U("workers", workers_count(&s->loaded.config)));
    return EXIT_CODE_OK;
}

void server_stop(struct server *s)
{
    if (s->serving) {
        LOG(s->log, LOG_INFO, "server.drain", LOG_U("timeout_ms", s->loaded.config.drain_timeout_ms));
        atomic_store(&s->draining, true);
        notify_send(&s->notify, "STOPPING=1");
        gateway_drain(s->gateway, s->loaded.config.drain_timeout_ms);
        engine_stop(s->engine);
    }
    /* The loops still run and may ask for workers: refused, but there. */
    if (s->hashers != NULL) workers_stop(s->hashers);
    if (s->workers != NULL) workers_stop(s->workers);
    if (s->serving) {
        gateway_stop(s->gateway);
        /* A loop that was past the check when the engine stopped left its
         * submission behind; the loops' mailboxes still take the answer. */
        while (engine_turn(s->engine) != 0) {}
        datadir_remove(&s->dir, "port");
    }
    admin_close(&s->admin);
    if (s->gateway != NULL) gateway_destroy(&s->gateway);
    if (s->hashers != NULL) workers_destroy(&s->hashers);
    if (s->workers != NULL) workers_destroy(&s->workers);
    if (s->tls != NULL) tls_unref(&s->tls);
    if (s->engine != NULL) engine_destroy(&s->engine);
    if (s->store != NULL) store_close(&s->store);
    if (s->directory != NULL) directory_close(&s->directory);
    if (s->serving) LOG(s->log, LOG_INFO, "server.stop", LOG_S("result", "everything is on disk"));
    datadir_close(&s->dir);
    metrics_destroy(&s->metrics);
    log_destroy(&s->log);
}
