/* Sessions with a peer device: one current, up to 40 archived.
 *
 * Every operation loads what it needs, computes, seals the records that
 * change, and only then writes to the store. The archive is a record of its
 * own, so that ordinary messages do not rewrite it:
 *
 *   SESSION   body of session_record.c
 *   ARCHIVE   count (1), then length (4) || body each, newest first
 *   KEM_USED  created ms (8)
 *
 * Which session opens a message (Sesame 3.4): a prekey message that names the
 * base key of a session we hold belongs to it. Another prekey message makes a
 * new session; the current one goes to the archive. Any other message is tried
 * on the current session, then on the archived ones; the one that opens it
 * becomes current. That is how two simultaneous starts settle.
 *
 * A session is bound to the identity key it began with. When the peer has
 * another one now, it neither sends nor receives.
 */
#include "e2ee/session.h"

#include <assert.h>
#include <string.h>

#include "e2ee/ratchet.h"

/* --- loading ------------------------------------------------------------------------------- */

/* All that is stored about a peer device, as far as it was asked for. */
struct sessions {
    struct record_key key;
    struct session *current; /* NULL if there is none */
    struct e2ee_bytes archive; /* the record; empty if there is none */
    uint32_t archived_count;
    struct {
        const uint8_t *data; /* points into archive */
        uint32_t len;
    } archived[E2EE_ARCHIVED_SESSIONS_MAX];
};

static void sessions_deinit(const struct e2ee_env *env, struct sessions *sessions)
{
    session_destroy(env, &sessions->current);
    e2ee_bytes_free(env, &sessions->archive);
}

static enum e2ee_err session_parse(const struct e2ee_env *env, struct reader reader,
                                   struct session **session_out)
{
    struct session *session = session_create(env);
    if (session == NULL) {
        return E2EE_ERR_MEMORY;
    }
    enum e2ee_err err = session_read(env, &reader, session);
    if (err != E2EE_OK) {
        session_destroy(env, &session);
        return err;
    }
    *session_out = session;
    return E2EE_OK;
}

/* NO_SESSION is not an error here: `current` stays NULL. */
static enum e2ee_err current_load(const struct e2ee_env *env, const struct e2ee_address *peer,
                                  struct sessions *sessions)
{
    struct e2ee_bytes bytes;
    struct reader reader;
    memset(sessions, 0, sizeof *sessions);
    sessions->key = record_key_address(peer);
    enum e2ee_err err =
        record_load(env, E2EE_RECORD_SESSION, &sessions->key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err == E2EE_ERR_NOT_FOUND ? E2EE_OK : err;
    }
    err = session_parse(env, reader, &sessions->current);
    e2ee_bytes_free(env, &bytes);
    return err;
}

static enum e2ee_err archive_load(const struct e2ee_env *env, struct sessions *sessions)
{
    struct reader reader;
    enum e2ee_err err =
        record_load(env, E2EE_RECORD_ARCHIVE, &sessions->key, &sessions->archive, &reader);
    if (err != E2EE_OK) {
        return err == E2EE_ERR_NOT_FOUND ? E2EE_OK : err;
    }
    uint32_t count = read_u8(&reader);
    if (count > E2EE_ARCHIVED_SESSIONS_MAX) {
        return E2EE_ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < count; i++) {
        sessions->archived[i].len = read_u32(&reader);
        sessions->archived[i].data = read_bytes(&reader, sessions->archived[i].len);
    }
    if (!reader_done(&reader)) {
        return E2EE_ERR_CORRUPT;
    }
    sessions->archived_count = count;
    return E2EE_OK;
}

/* --- saving ---------------------------------------------------------------------------------- */

/* No place in the archive. */
static const uint32_t not_archived = UINT32_MAX;

/* The archive after one session moved in and possibly one moved out. */
struct archive_change {
    const struct sessions *sessions;
    const struct session *added; /* to the front; may be NULL */
    uint32_t without;            /* index of the one that left, or not_archived */
};

static void archive_body(struct writer *writer, const void *object)
{
    const struct archive_change *change = object;
    const struct sessions *sessions = change->sessions;
    uint32_t count = change->added != NULL ? 1 : 0;
    for (uint32_t i = 0; i < sessions->archived_count; i++) {
        count += i != change->without ? 1 : 0;
    }
    if (count > E2EE_ARCHIVED_SESSIONS_MAX) {
        count = E2EE_ARCHIVED_SESSIONS_MAX; /* the oldest is dropped */
    }
    write_u8(writer, (uint8_t)count);
    if (change->added != NULL) {
        struct writer size = {0};
        session_write(&size, change->added);
        write_u32(writer, (uint32_t)size.len);
        session_write(writer, change->added);
        count--;
    }
    for (uint32_t i = 0; i < sessions->archived_count && count > 0; i++) {
        if (i != change->without) {
            write_u32(writer, sessions->archived[i].len);
            write_bytes(writer, sessions->archived[i].data, sessions->archived[i].len);
            count--;
        }
    }
}

/* The writes that end a call, sealed before the first of them is made. */
enum { COMMIT_MAX = 6 };
struct commit {
    struct {
        enum e2ee_record kind;
        struct record_key key;
        struct e2ee_bytes record; /* empty: remove */
    } writes[COMMIT_MAX];
    unsigned count;
};

static void commit_add(struct commit *commit, enum e2ee_record kind,
                       const struct record_key *key, struct e2ee_bytes record)
{
    assert(commit->count < COMMIT_MAX);
    commit->writes[commit->count].kind = kind;
    commit->writes[commit->count].key = *key;
    commit->writes[commit->count].record = record;
    commit->count++;
}

static enum e2ee_err commit_seal(const struct e2ee_env *env, struct commit *commit,
                                 enum e2ee_record kind, const struct record_key *key,
                                 record_body *body, const void *object)
{
    struct e2ee_bytes record;
    enum e2ee_err err = record_seal(env, kind, body, object, &record);
    if (err == E2EE_OK) {
        commit_add(commit, kind, key, record);
    }
    return err;
}

static enum e2ee_err commit_apply(const struct e2ee_env *env, const struct commit *commit)
{
    enum e2ee_err err = E2EE_OK;
    for (unsigned i = 0; i < commit->count && err == E2EE_OK; i++) {
        const struct e2ee_bytes *record = &commit->writes[i].record;
        err = record->len > 0
                  ? record_save(env, commit->writes[i].kind, &commit->writes[i].key, record)
                  : record_remove(env, commit->writes[i].kind, &commit->writes[i].key);
    }
    return err;
}

static void commit_deinit(const struct e2ee_env *env, struct commit *commit)
{
    for (unsigned i = 0; i < commit->count; i++) {
        e2ee_bytes_free(env, &commit->writes[i].record);
    }
}

/* `session` becomes current; the current one goes to the archive. */
static enum e2ee_err commit_replace(const struct e2ee_env *env, struct commit *commit,
                                    const struct sessions *sessions,
                                    const struct session *session, uint32_t without)
{
    enum e2ee_err err = E2EE_OK;
    if (sessions->current != NULL || without != not_archived) {
        struct archive_change change = {sessions, sessions->current, without};
        err = commit_seal(env, commit, E2EE_RECORD_ARCHIVE, &sessions->key, archive_body,
                          &change);
    }
    if (err == E2EE_OK) {
        err = commit_seal(env, commit, E2EE_RECORD_SESSION, &sessions->key, session_write,
                          session);
    }
    return err;
}

static enum e2ee_err commit_peer(const struct e2ee_env *env, struct commit *commit,
                                 const struct e2ee_address *address,
                                 const struct e2ee_peer *peer, enum e2ee_identity_seen seen)
{
    struct record_key key = record_key_service(address->service_id);
    struct e2ee_bytes record;
    if (seen == E2EE_IDENTITY_SAME) {
        return E2EE_OK;
    }
    enum e2ee_err err = peer_seal(env, peer, &record);
    if (err == E2EE_OK) {
        commit_add(commit, E2EE_RECORD_PEER, &key, record);
    }
    return err;
}

/* --- starting ---------------------------------------------------------------------------------- */

static bool peer_address_valid(const struct e2ee_env *env, const struct e2ee_address *peer)
{
    return address_valid(peer) && !address_equal(peer, &env->self);
}

enum e2ee_err e2ee_session_start(const struct e2ee_env *env, const struct e2ee_address *peer,
                                 const struct e2ee_bundle *bundle,
                                 enum e2ee_identity_seen *seen_out)
{
    struct self self = {0};
    struct sessions sessions = {0};
    struct commit commit = {0};
    struct session *session = NULL;
    struct e2ee_peer seen_peer;
    enum e2ee_identity_seen seen;

    if (!peer_address_valid(env, peer) || bundle->device_id != peer->device_id) {
        return E2EE_ERR_ADDRESS;
    }
    enum e2ee_err err = e2ee_bundle_check(bundle);
    if (err != E2EE_OK) {
        return err;
    }
    err = self_load(env, &self);
    if (err == E2EE_OK) {
        err = peer_observe(env, peer->service_id, bundle->identity, self.pair.public_key,
                           &seen_peer, &seen);
    }
    if (err == E2EE_OK) {
        err = current_load(env, peer, &sessions);
    }
    if (err == E2EE_OK && sessions.current != NULL) {
        err = archive_load(env, &sessions);
    }
    if (err == E2EE_OK) {
        session = session_create(env);
        err = session != NULL ? session_initiate(env, &self, bundle, session) : E2EE_ERR_MEMORY;
    }
    if (err == E2EE_OK) {
        err = commit_peer(env, &commit, peer, &seen_peer, seen);
    }
    if (err == E2EE_OK) {
        err = commit_replace(env, &commit, &sessions, session, not_archived);
    }
    if (err == E2EE_OK) {
        err = commit_apply(env, &commit);
    }
    if (err == E2EE_OK && seen_out != NULL) {
        *seen_out = seen;
    }
    session_destroy(env, &session);
    sessions_deinit(env, &sessions);
    commit_deinit(env, &commit);
    SECRET_WIPE(self);
    return err;
}

/* --- encrypting ----------------------------------------------------------------------------------- */

/* Whether the current session may send: OK, NO_SESSION, or IDENTITY. */
static enum e2ee_err send_check(const struct e2ee_env *env, const struct e2ee_address *address,
                                const struct session *session)
{
    struct e2ee_peer peer;
    if (session == NULL) {
        return E2EE_ERR_NO_SESSION;
    }
    enum e2ee_err err = e2ee_peer_get(env, address->service_id, &peer);
    if (err == E2EE_ERR_NOT_FOUND) {
        return E2EE_ERR_NO_SESSION;
    }
    if (err != E2EE_OK) {
        return err;
    }
    if (peer.blocked) {
        return E2EE_ERR_IDENTITY;
    }
    uint64_t now = env->clock.now_ms(env->clock.context);
    bool stale = session->pending && now > session->created_ms &&
                 now - session->created_ms > E2EE_UNACKNOWLEDGED_MAX_MS;
    bool replaced = memcmp(peer.identity, session->remote_identity, E2EE_PUBLIC_LEN) != 0;
    return stale || replaced ? E2EE_ERR_NO_SESSION : E2EE_OK;
}

enum e2ee_err e2ee_session_encrypt(const struct e2ee_env *env, const struct e2ee_address *peer,
                                   const uint8_t *plaintext, size_t plaintext_len,
                                   enum e2ee_message_type *type_out,
                                   struct e2ee_bytes *message_out)
{
    struct sessions sessions = {0};
    struct commit commit = {0};
    struct e2ee_bytes message = {0};
    enum e2ee_message_type type = E2EE_MESSAGE_WHISPER;

    if (plaintext_len > E2EE_PLAINTEXT_MAX) {
        return E2EE_ERR_ARGUMENT;
    }
    enum e2ee_err err = current_load(env, peer, &sessions);
    if (err == E2EE_OK) {
        err = send_check(env, peer, sessions.current);
    }
    if (err == E2EE_OK) {
        type = sessions.current->pending ? E2EE_MESSAGE_PREKEY : E2EE_MESSAGE_WHISPER;
        err = session_seal(env, sessions.current, peer, plaintext, plaintext_len, &message);
    }
    if (err == E2EE_OK) {
        err = commit_seal(env, &commit, E2EE_RECORD_SESSION, &sessions.key, session_write,
                          sessions.current);
    }
    if (err == E2EE_OK) {
        err = commit_apply(env, &commit);
    }
    if (err == E2EE_OK) {
        *type_out = type;
        *message_out = message;
    } else {
        e2ee_bytes_free(env, &message);
    }
    sessions_deinit(env, &sessions);
    commit_deinit(env, &commit);
    return err;
}

/* --- decrypting ----------------------------------------------------------------------------------- */

/* One decryption on its way. */
struct opening {
    const struct e2ee_env *env;
    const struct e2ee_address *peer;
    struct sessions sessions;
    struct commit commit;
    struct e2ee_bytes plaintext;
    struct e2ee_received received;
};

/* Opens with a stored session and prepares the writes. `at` is its place in
 * the archive, or not_archived for the current one. */
static enum e2ee_err open_with(struct opening *opening, struct session *session, uint32_t at,
                               const struct whisper_message *message)
{
    const struct e2ee_env *env = opening->env;
    struct e2ee_peer peer;
    enum e2ee_identity_seen seen;
    enum e2ee_err err = session_open(env, session, opening->peer, message, &opening->plaintext);
    if (err != E2EE_OK) {
        return err;
    }
    err = peer_observe(env, opening->peer->service_id, session->remote_identity,
                       session->local_identity, &peer, &seen);
    if (err == E2EE_OK && seen == E2EE_IDENTITY_CHANGED) {
        err = E2EE_ERR_IDENTITY; /* a session under a key that was replaced */
    }
    if (err == E2EE_OK) {
        err = commit_peer(env, &opening->commit, opening->peer, &peer, seen);
    }
    if (err == E2EE_OK && at == not_archived) {
        err = commit_seal(env, &opening->commit, E2EE_RECORD_SESSION, &opening->sessions.key,
                          session_write, session);
    } else if (err == E2EE_OK) {
        err = commit_replace(env, &opening->commit, &opening->sessions, session, at);
    }
    opening->received.seen = seen;
    opening->received.registration_id = session->remote_registration_id;
    return err;
}

/* Errors that another session cannot do better on. */
static bool is_final(enum e2ee_err err)
{
    return err == E2EE_OK || err == E2EE_ERR_MEMORY || err == E2EE_ERR_RANDOM ||
           err == E2EE_ERR_STORE || err == E2EE_ERR_CORRUPT || err == E2EE_ERR_DUPLICATE ||
           err == E2EE_ERR_ADDRESS || err == E2EE_ERR_IDENTITY;
}

/* An attempt changes its session, so the current one is read again before it
 * is moved to the archive. */
static enum e2ee_err current_reload(struct opening *opening)
{
    struct sessions fresh;
    session_destroy(opening->env, &opening->sessions.current);
    enum e2ee_err err = current_load(opening->env, opening->peer, &fresh);
    opening->sessions.current = fresh.current;
    return err;
}

static enum e2ee_err archived_parse(struct opening *opening, uint32_t at,
                                    struct session **session_out)
{
    const struct sessions *sessions = &opening->sessions;
    return session_parse(opening->env,
                         reader_of(sessions->archived[at].data, sessions->archived[at].len),
                         session_out);
}

static enum e2ee_err open_archived(struct opening *opening, const struct whisper_message *message,
                                   enum e2ee_err first_err)
{
    struct sessions *sessions = &opening->sessions;
    enum e2ee_err err = archive_load(opening->env, sessions);
    for (uint32_t i = 0; i < sessions->archived_count && err == E2EE_OK; i++) {
        struct session *session = NULL;
        err = archived_parse(opening, i, &session);
        if (err != E2EE_OK) {
            break;
        }
        err = open_with(opening, session, i, message);
        session_destroy(opening->env, &session);
        if (is_final(err)) {
            return err;
        }
        if (first_err == E2EE_ERR_NO_SESSION) {
            first_err = err;
        }
        err = E2EE_OK;
    }
    return err == E2EE_OK ? first_err : err;
}

static enum e2ee_err open_whisper(struct opening *opening, const uint8_t *bytes, size_t len)
{
    struct whisper_message message;
    struct sessions *sessions = &opening->sessions;
    enum e2ee_err err = whisper_parse(bytes, len, &message);
    if (err == E2EE_OK) {
        err = current_load(opening->env, opening->peer, sessions);
    }
    if (err != E2EE_OK) {
        return err;
    }
    enum e2ee_err first_err = E2EE_ERR_NO_SESSION;
    if (sessions->current != NULL) {
        first_err = open_with(opening, sessions->current, not_archived, &message);
        if (is_final(first_err)) {
            return first_err;
        }
        err = current_reload(opening);
    }
    return err == E2EE_OK ? open_archived(opening, &message, first_err) : err;
}

/* The prekeys that a first message names, and what becomes of them. */
struct prekeys {
    struct curve_prekey signed_prekey;
    struct curve_prekey prekey;
    struct kem_prekey kem;
};

static enum e2ee_err no_prekey(enum e2ee_err err)
{
    return err == E2EE_ERR_NOT_FOUND ? E2EE_ERR_NO_PREKEY : err;
}

static enum e2ee_err prekeys_load(const struct e2ee_env *env,
                                  const struct prekey_message *message, struct prekeys *prekeys)
{
    enum e2ee_err err = curve_prekey_load(env, E2EE_RECORD_SIGNED_PREKEY,
                                          message->signed_prekey_id, &prekeys->signed_prekey);
    if (err == E2EE_OK) {
        err = kem_prekey_load(env, message->kem_prekey_id, &prekeys->kem);
    }
    if (err == E2EE_OK && message->has_prekey) {
        err = curve_prekey_load(env, E2EE_RECORD_PREKEY, message->prekey_id, &prekeys->prekey);
    }
    if (err == E2EE_OK && prekeys->kem.last_resort) {
        bool used;
        struct record_key key = record_key_used(message->kem_prekey_id,
                                                message->signed_prekey_id, message->base_key);
        err = record_exists(env, E2EE_RECORD_KEM_USED, &key, &used);
        if (err == E2EE_OK && used) {
            err = E2EE_ERR_REPLAY;
        }
    }
    return no_prekey(err);
}

static void used_body(struct writer *writer, const void *object)
{
    write_u64(writer, *(const uint64_t *)object);
}

/* One-time prekeys go; the use of a last-resort one is noted. */
static enum e2ee_err prekeys_consume(struct opening *opening,
                                     const struct prekey_message *message,
                                     const struct prekeys *prekeys, uint64_t now_ms)
{
    struct commit *commit = &opening->commit;
    if (message->has_prekey) {
        struct record_key key = record_key_id(message->prekey_id);
        commit_add(commit, E2EE_RECORD_PREKEY, &key, (struct e2ee_bytes){0});
    }
    if (!prekeys->kem.last_resort) {
        struct record_key key = record_key_id(message->kem_prekey_id);
        commit_add(commit, E2EE_RECORD_KEM_PREKEY, &key, (struct e2ee_bytes){0});
        return E2EE_OK;
    }
    struct record_key key =
        record_key_used(message->kem_prekey_id, message->signed_prekey_id, message->base_key);
    return commit_seal(opening->env, commit, E2EE_RECORD_KEM_USED, &key, used_body, &now_ms);
}

/* A first message: makes the session, opens the message inside. */
static enum e2ee_err open_first(struct opening *opening, const struct prekey_message *message,
                                const struct whisper_message *inner, struct prekeys *prekeys)
{
    const struct e2ee_env *env = opening->env;
    uint64_t now_ms = env->clock.now_ms(env->clock.context);
    struct self self = {0};
    struct e2ee_peer peer;
    struct named_prekeys named = {&prekeys->signed_prekey,
                                  message->has_prekey ? &prekeys->prekey : NULL, &prekeys->kem};
    struct session *session = NULL;

    enum e2ee_err err = prekeys_load(env, message, prekeys);
    if (err == E2EE_OK) {
        err = self_load(env, &self);
    }
    if (err == E2EE_OK) {
        err = peer_observe(env, opening->peer->service_id, message->identity,
                           self.pair.public_key, &peer, &opening->received.seen);
    }
    if (err == E2EE_OK) {
        session = session_create(env);
        err = session != NULL ? session_respond(&self, message, &named, now_ms, session)
                              : E2EE_ERR_MEMORY;
    }
    if (err == E2EE_OK) {
        err = session_open(env, session, opening->peer, inner, &opening->plaintext);
    }
    if (err == E2EE_OK) {
        err = commit_peer(env, &opening->commit, opening->peer, &peer, opening->received.seen);
    }
    if (err == E2EE_OK) {
        err = commit_replace(env, &opening->commit, &opening->sessions, session, not_archived);
    }
    if (err == E2EE_OK) {
        err = prekeys_consume(opening, message, prekeys, now_ms);
    }
    opening->received.session_started = true;
    opening->received.used_prekey = message->has_prekey;
    opening->received.prekey_id = message->has_prekey ? message->prekey_id : 0;
    opening->received.used_kem_prekey = true;
    opening->received.kem_prekey_id = message->kem_prekey_id;
    opening->received.registration_id = message->registration_id;
    session_destroy(env, &session);
    SECRET_WIPE(self);
    return err;
}

/* A message of a session that we hold must name what the session knows. */
static enum e2ee_err open_known(struct opening *opening, struct session *session, uint32_t at,
                                const struct prekey_message *message,
                                const struct whisper_message *inner)
{
    if (memcmp(message->identity, session->remote_identity, E2EE_PUBLIC_LEN) != 0 ||
        message->registration_id != session->remote_registration_id) {
        return E2EE_ERR_DECRYPT;
    }
    return open_with(opening, session, at, inner);
}

static enum e2ee_err open_prekey(struct opening *opening, const uint8_t *bytes, size_t len)
{
    struct prekey_message message;
    struct whisper_message inner;
    struct prekeys prekeys = {0};
    struct sessions *sessions = &opening->sessions;
    enum e2ee_err err = prekey_parse(bytes, len, &message);
    if (err == E2EE_OK) {
        err = whisper_parse(message.inner, message.inner_len, &inner);
    }
    if (err == E2EE_OK) {
        err = current_load(opening->env, opening->peer, sessions);
    }
    if (err != E2EE_OK) {
        return err;
    }
    if (sessions->current != NULL &&
        memcmp(sessions->current->base_key, message.base_key, E2EE_PUBLIC_LEN) == 0) {
        return open_known(opening, sessions->current, not_archived, &message, &inner);
    }
    err = archive_load(opening->env, sessions);
    for (uint32_t i = 0; i < sessions->archived_count && err == E2EE_OK; i++) {
        struct session *session = NULL;
        if (!session_stored_is(sessions->archived[i].data, sessions->archived[i].len,
                               message.base_key)) {
            continue;
        }
        err = archived_parse(opening, i, &session);
        if (err == E2EE_OK) {
            err = open_known(opening, session, i, &message, &inner);
        }
        session_destroy(opening->env, &session);
        return err;
    }
    if (err == E2EE_OK) {
        err = open_first(opening, &message, &inner, &prekeys);
        SECRET_WIPE(prekeys);
    }
    return err;
}

enum e2ee_err e2ee_session_decrypt(const struct e2ee_env *env, const struct e2ee_address *peer,
                                   enum e2ee_message_type type, const uint8_t *message,
                                   size_t message_len, struct e2ee_bytes *plaintext_out,
                                   struct e2ee_received *received_out)
{
    struct opening opening = {.env = env, .peer = peer};
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (!peer_address_valid(env, peer)) {
        return E2EE_ERR_ADDRESS;
    }
    if (type == E2EE_MESSAGE_PREKEY) {
        err = open_prekey(&opening, message, message_len);
    } else if (type == E2EE_MESSAGE_WHISPER) {
        err = open_whisper(&opening, message, message_len);
    }
    if (err == E2EE_OK) {
        err = commit_apply(env, &opening.commit);
    }
    if (err == E2EE_OK) {
        *plaintext_out = opening.plaintext;
        if (received_out != NULL) {
            *received_out = opening.received;
        }
    } else {
        e2ee_bytes_free(env, &opening.plaintext);
    }
    sessions_deinit(env, &opening.sessions);
    commit_deinit(env, &opening.commit);
    return err;
}

/* --- looking after sessions ---------------------------------------------------------------------- */

enum e2ee_err e2ee_session_info(const struct e2ee_env *env, const struct e2ee_address *peer,
                                struct e2ee_session_info *info_out)
{
    struct sessions sessions;
    enum e2ee_err err = current_load(env, peer, &sessions);
    if (err == E2EE_OK) {
        err = sessions.current != NULL ? archive_load(env, &sessions) : E2EE_ERR_NO_SESSION;
    }
    if (err == E2EE_OK) {
        enum e2ee_err check = send_check(env, peer, sessions.current);
        if (check == E2EE_OK || check == E2EE_ERR_NO_SESSION || check == E2EE_ERR_IDENTITY) {
            *info_out = (struct e2ee_session_info){
                .can_send = check == E2EE_OK,
                .acknowledged = !sessions.current->pending,
                .created_ms = sessions.current->created_ms,
                .registration_id = sessions.current->remote_registration_id,
                .pq_epoch = sessions.current->spqr.braid.epoch,
                .archived_count = sessions.archived_count,
            };
        } else {
            err = check;
        }
    }
    sessions_deinit(env, &sessions);
    return err;
}

enum e2ee_err e2ee_session_archive(const struct e2ee_env *env, const struct e2ee_address *peer)
{
    struct sessions sessions;
    struct commit commit = {0};
    enum e2ee_err err = current_load(env, peer, &sessions);
    if (err == E2EE_OK) {
        err = sessions.current != NULL ? archive_load(env, &sessions) : E2EE_ERR_NO_SESSION;
    }
    if (err == E2EE_OK) {
        struct archive_change change = {&sessions, sessions.current, not_archived};
        err = commit_seal(env, &commit, E2EE_RECORD_ARCHIVE, &sessions.key, archive_body,
                          &change);
    }
    if (err == E2EE_OK) {
        commit_add(&commit, E2EE_RECORD_SESSION, &sessions.key, (struct e2ee_bytes){0});
        err = commit_apply(env, &commit);
    }
    sessions_deinit(env, &sessions);
    commit_deinit(env, &commit);
    return err;
}

enum e2ee_err e2ee_session_remove(const struct e2ee_env *env, const struct e2ee_address *peer)
{
    struct record_key key = record_key_address(peer);
    enum e2ee_err err = record_remove(env, E2EE_RECORD_SESSION, &key);
    return err == E2EE_OK ? record_remove(env, E2EE_RECORD_ARCHIVE, &key) : err;
}
