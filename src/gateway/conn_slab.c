/* The slab of connections of one loop.
 *
 * Pages of 64 KiB, aligned, so that a connection finds its page, and through it
 * its loop, from its own address. Deadlines stand apart in a dense array at the
 * head of the page: looking at all of them is a scan of 4 bytes per connection
 * (15,000 connections: 60 KB, some 10 microseconds), which is cheaper in memory
 * than a timer in each (32 bytes) and in time than moving timers with every
 * frame. The scan runs when the earliest deadline comes.
 *
 * A connection is named by its slot and a serial number that is never used
 * twice, so that a message from another thread for a connection that is gone
 * finds nobody. The numbers come from one counter, so that they tell as well which
 * of two event channels of a device was opened later (session/registry.h).
 */
#include "gateway/conn_slab.h"

#include <stdlib.h>

enum { PAGE_BYTES = 64 * 1024, PAGE_HEAD = 64 };
enum { PAGE_CONNS = (PAGE_BYTES - PAGE_HEAD) / (sizeof(struct conn) + sizeof(uint32_t)) };

struct conn_page {
    struct gateway_loop *loop;
    uint32_t first_slot;
    uint32_t due[PAGE_CONNS];   /* tick; 0: none */
    struct conn conns[PAGE_CONNS]; /* serial 0: free */
};
_Static_assert(sizeof(struct conn_page) <= PAGE_BYTES, "a page fits its alignment");

static struct conn_page *page_of(const struct conn *c)
{
    return (struct conn_page *)((uintptr_t)c & ~(uintptr_t)(PAGE_BYTES - 1));
}

struct gateway_loop *conn_loop(const struct conn *c)
{
    return page_of(c)->loop;
}

static uint32_t loop_tick(const struct gateway_loop *gl)
{
    return conn_tick(gl);
}

static void due_fired(struct loop_timer *t, struct loop *loop);

void conn_slab_init(struct gateway_loop *gl)
{
    gl->due_timer.fired = due_fired;
}

void conn_slab_deinit(struct gateway_loop *gl)
{
    for (size_t i = 0; i < gl->pages_count; i++) aligned_pages_unmap(gl->pages[i], PAGE_BYTES);
    free(gl->pages);
    gl->pages = NULL;
    gl->pages_count = 0;
    gl->free_conns = NULL;
}

static void page_add(struct gateway_loop *gl)
{
    struct conn_page *page = aligned_pages_map(PAGE_BYTES);
    page->loop = gl;
    page->first_slot = (uint32_t)(gl->pages_count * PAGE_CONNS);
    gl->pages = sotto_realloc(gl->pages, (gl->pages_count + 1) * sizeof(struct conn_page *));
    gl->pages[gl->pages_count++] = page;
    for (size_t i = PAGE_CONNS; i-- > 0;) {
        page->conns[i].stream = (struct stream *)(void *)gl->free_conns;
        gl->free_conns = &page->conns[i];
    }
}

struct conn *conn_take(struct gateway_loop *gl)
{
    if (gl->free_conns == NULL) page_add(gl);
    struct conn *c = gl->free_conns;
    gl->free_conns = (struct conn *)(void *)c->stream;
    memset(c, 0, sizeof(*c));
    struct conn_page *page = page_of(c);
    c->session.name =
        (struct session_name){.slot = page->first_slot + (uint32_t)(c - page->conns), .loop = gl->index};
    conn_renumber(c);
    return c;
}

void conn_renumber(struct conn *c)
{
    struct gateway *g = conn_loop(c)->gateway;
    do
        c->session.name.serial = atomic_fetch_add_explicit(&g->serials, 1, memory_order_relaxed) + 1;
    while (c->session.name.serial == 0); /* says that a slot is free */
}

void conn_give_back(struct conn *c)
{
    struct conn_page *page = page_of(c);
    struct gateway_loop *gl = page->loop;
    page->due[c - page->conns] = 0;
    memset(c, 0, sizeof(*c));
    c->stream = (struct stream *)(void *)gl->free_conns;
    gl->free_conns = c;
}

struct conn *conn_named(struct gateway_loop *gl, uint32_t slot, uint32_t serial)
{
    size_t page = slot / PAGE_CONNS;
    if (serial == 0 || page >= gl->pages_count) return NULL;
    struct conn *c = &gl->pages[page]->conns[slot % PAGE_CONNS];
    return c->session.name.serial == serial ? c : NULL;
}

void conn_each(struct gateway_loop *gl, void (*fn)(struct conn *c, void *ctx), void *ctx)
{
    for (size_t p = 0; p < gl->pages_count; p++)
        for (size_t i = 0; i < PAGE_CONNS; i++)
            if (gl->pages[p]->conns[i].session.name.serial != 0) fn(&gl->pages[p]->conns[i], ctx);
}

uint32_t conn_tick(const struct gateway_loop *gl)
{
    /* Never 0, so that 0 can mean "none". Good for 13 years of running. */
    return (uint32_t)(loop_now_ms(gl->loop) / GATEWAY_TICK_MS) + 1;
}

static void due_timer_set(struct gateway_loop *gl, uint32_t tick)
{
    if (gl->next_due != 0 && gl->next_due <= tick) return;
    gl->next_due = tick;
    uint32_t now = loop_tick(gl);
    loop_timer_start(gl->loop, &gl->due_timer, tick > now ? (uint64_t)(tick - now) * GATEWAY_TICK_MS : 1);
}

void conn_arm(struct conn *c, uint64_t delay_ms)
{
    struct conn_page *page = page_of(c);
    uint32_t *due = &page->due[c - page->conns];
    if (delay_ms == 0) {
        *due = 0;
        return;
    }
    uint64_t ticks = (delay_ms + GATEWAY_TICK_MS - 1) / GATEWAY_TICK_MS;
    if (ticks > UINT32_MAX / 2) ticks = UINT32_MAX / 2;
    *due = loop_tick(page->loop) + (uint32_t)ticks;
    due_timer_set(page->loop, *due);
}

void conn_arm_sooner(struct conn *c, uint64_t delay_ms)
{
    const struct conn_page *page = page_of(c);
    uint32_t due = page->due[c - page->conns], now = loop_tick(page->loop);
    if (due == 0 || (due > now && (uint64_t)(due - now) * GATEWAY_TICK_MS > delay_ms)) conn_arm(c, delay_ms);
}

static void due_fired(struct loop_timer *t, struct loop *loop)
{
    struct gateway_loop *gl = loop_owner(loop);
    (void)t;
    uint32_t now = loop_tick(gl), next = 0;
    gl->next_due = 0;
    for (size_t p = 0; p < gl->pages_count; p++) {
        struct conn_page *page = gl->pages[p];
        for (size_t i = 0; i < PAGE_CONNS; i++) {
            uint32_t due = page->due[i];
            if (due == 0) continue;
            if (due > now) {
                if (next == 0 || due < next) next = due;
                continue;
            }
            page->due[i] = 0;
            conn_due(&page->conns[i]); /* may arm itself and any other again */
        }
    }
    if (next != 0) due_timer_set(gl, next);
}
