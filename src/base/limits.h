/* Every maximum of the server and the protocol, in one place.
 *
 * A queue, map, buffer or loop that a peer can make grow is bounded by one of
 * these, or by a configured limit whose default stands here. Units come last
 * in the name.
 */
#ifndef SOTTO_BASE_LIMITS_H
#define SOTTO_BASE_LIMITS_H

enum {
    /* Accounts and devices. */
    SOTTO_USERNAME_MAX = 32,        /* characters, [a-z0-9._-] */
    SOTTO_USERNAME_MIN = 3,
    SOTTO_PASSWORD_MIN = 8,         /* bytes of UTF-8 */
    SOTTO_PASSWORD_MAX = 256,
    SOTTO_DISPLAY_NAME_MAX = 128,   /* bytes of UTF-8 */
    SOTTO_PHONE_MAX = 16,           /* '+' and up to 15 digits, E.164 */
    SOTTO_DEVICE_NAME_MAX = 64,     /* bytes of UTF-8 */
    SOTTO_PLATFORM_MAX = 32,
    SOTTO_HANDLE_MAX = 128,         /* picture and media handles */
    SOTTO_DEVICE_ID_MAX = 127,      /* 1..127, as the Signal protocol asks */
    SOTTO_DEVICES_PER_USER_MAX = 16,
    SOTTO_CONTACTS_PER_USER_MAX = 5000,
    SOTTO_ONE_TIME_PREKEYS_MAX = 200, /* stored, per device and kind */

    /* Messages. */
    SOTTO_CLIENT_MSG_ID_MAX = 64,   /* bytes */
    SOTTO_MESSAGE_TYPE_MAX = 32,
    SOTTO_PAYLOAD_MAX = 64 * 1024,  /* bytes, one payload or one envelope, decoded */
    SOTTO_ENVELOPES_MAX = 2 * SOTTO_DEVICES_PER_USER_MAX,
    SOTTO_MEMBERS_MAX = 1024,
    SOTTO_TTL_MAX_S = 366 * 24 * 3600,
    SOTTO_RECORD_MAX = 1024 * 1024, /* bytes of one encoded record */
    SOTTO_HISTORY_LIMIT_MAX = 200,  /* messages a page */
    SOTTO_MARKS_MAX = 256,          /* watermarks in one request */

    /* Frames and requests. */
    SOTTO_FRAME_MAX = 1024 * 1024,  /* bytes of one WebSocket message */
    SOTTO_HTTP_HEAD_MAX = 16 * 1024,/* request line and headers */
    SOTTO_HTTP_BODY_MAX = 1024 * 1024,
    SOTTO_JSON_TOKENS_MAX = 16384,
    SOTTO_JSON_DEPTH_MAX = 16,

    /* Queues. */
    SOTTO_ENGINE_QUEUE_MAX = 65536, /* submissions waiting for the writer */
    SOTTO_ENGINE_BATCH_MAX = 4096,  /* records in one commit */
    SOTTO_ENGINE_BATCH_BYTES_MAX = 8 * 1024 * 1024, /* and their bytes, but for the last one */
    SOTTO_LOOP_QUEUE_MAX = 65536,   /* messages waiting for one I/O loop */
    SOTTO_WORK_QUEUE_MAX = 4096,    /* jobs waiting for the workers */
    SOTTO_PRESENCE_VIEW_MAX = 256   /* users one connection watches */
};

#endif
