/* What the gateway counts. Names are part of the interface (docs/operations). */
#include "gateway/conn.h"

static const uint16_t close_codes[CLOSE_CODES] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011,
                                       4000, 4001, 4002, 4003, 4004, 4005, 4006};
static const char *const close_labels[CLOSE_CODES] = {
    "code=\"1000\"", "code=\"1001\"", "code=\"1002\"", "code=\"1003\"", "code=\"1007\"",
    "code=\"1008\"", "code=\"1009\"", "code=\"1011\"", "code=\"4000\"", "code=\"4001\"",
    "code=\"4002\"", "code=\"4003\"", "code=\"4004\"", "code=\"4005\"", "code=\"4006\""};

void gateway_metrics_init(struct gateway_metrics *m, struct metrics *r)
{
    static const char *const kinds[] = {"kind=\"http\"", "kind=\"websocket\"", "kind=\"sse\"", "kind=\"poll\""};
    static const char *const causes[] = {"cause=\"lagging\"", "cause=\"loop_full\""};
    static const char *const buckets[] = {"bucket=\"address\"", "bucket=\"user\"", "bucket=\"device\"",
                                          "bucket=\"pair\"", "bucket=\"bundles\"", "bucket=\"typing\""};
    for (size_t i = 0; i < 4; i++)
        m->connections[i] = metrics_gauge(r, "sotto_connections", kinds[i], "Open connections by kind.");
    m->sessions = metrics_gauge(r, "sotto_sessions", "", "Devices with an event channel.");
    m->accepted_connections = metrics_counter(r, "sotto_connections_accepted_total", "", "Connections accepted.");
    m->refused_connections = metrics_counter(r, "sotto_connections_refused_total", "", "Connections refused: too many, or draining.");
    m->accepted = metrics_counter(r, "sotto_messages_total", "stage=\"accepted\"", "Messages by the stage they reached.");
    m->durable = metrics_counter(r, "sotto_messages_total", "stage=\"durable\"", "");
    m->delivered = metrics_counter(r, "sotto_messages_total", "stage=\"delivered\"", "");
    m->read = metrics_counter(r, "sotto_messages_total", "stage=\"read\"", "");
    m->repeated = metrics_counter(r, "sotto_messages_repeated_total", "", "Sends answered with the first answer.");
    m->pushed = metrics_counter(r, "sotto_events_pushed_total", "", "Live events queued for a connection.");
    m->sent = metrics_latency(r, "sotto_send_to_sent_seconds", "", "From the arrival of message.send to its answer.");
    m->delivered_after = metrics_latency(r, "sotto_sent_to_delivered_seconds", "", "From the commit of a message to the first delivered mark for it.");
    m->push = metrics_latency(r, "sotto_commit_to_push_seconds", "", "From a commit to its events in the output queues.");
    for (size_t i = 0; i < DROP_CAUSES; i++)
        m->dropped[i] = metrics_counter(r, "sotto_events_dropped_total", causes[i], "Live events left to synchronising.");
    for (size_t i = 0; i < CLOSE_CODES; i++)
        m->closes[i] = metrics_counter(r, "sotto_closes_total", close_labels[i], "Connections closed by us, by code.");
    m->closes_other = metrics_counter(r, "sotto_closes_total", "code=\"other\"", "");
    m->queued_bytes = metrics_gauge(r, "sotto_output_queued_bytes", "", "Memory of the queues of all connections, short ones not counted.");
    for (size_t i = 0; i < 6; i++)
        m->limited[i] = metrics_counter(r, "sotto_rate_limited_total", buckets[i], "Requests refused for their rate.");
    m->auth_failures = metrics_counter(r, "sotto_auth_failures_total", "", "Tokens that were not valid.");
    m->lagging = metrics_counter(r, "sotto_lagging_total", "", "Times a connection began to lag.");
    m->sync_messages = metrics_counter(r, "sotto_sync_messages_total", "", "Messages given by synchronising.");
    m->sync_batches = metrics_counter(r, "sotto_sync_batches_total", "", "Batches given by synchronising.");
    m->requests[0] = metrics_counter(r, "sotto_requests_total", "via=\"websocket\"", "Requests by transport.");
    m->requests[1] = metrics_counter(r, "sotto_requests_total", "via=\"rest\"", "");
    m->problems = metrics_counter(r, "sotto_problems_total", "", "Requests answered with an error.");
}

void gateway_count_close(struct gateway *g, uint16_t code)
{
    for (size_t i = 0; i < CLOSE_CODES; i++) {
        if (close_codes[i] != code) continue;
        counter_add(g->metrics.closes[i], 1);
        return;
    }
    counter_add(g->metrics.closes_other, 1);
}
