/* A table in sets of four, each replaced round-robin; see peers.h. */
#include "gateway/peers.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PEERS_WAYS = 4, PEERS_LOCKS = 32 };

struct pair {
    struct id conversation, a, b; /* conversation zero: free */
};
struct peers_lock {
    alignas(64) pthread_mutex_t mutex;
    uint32_t turn;
};
struct peers {
    struct peers_lock locks[PEERS_LOCKS];
    size_t sets_mask;
    size_t bytes;
    struct pair (*sets)[PEERS_WAYS];
};

struct peers *peers_create(size_t entries)
{
    SOTTO_ASSERT(entries >= PEERS_WAYS * PEERS_LOCKS && (entries & (entries - 1)) == 0);
    struct peers *p = aligned_alloc(alignof(struct peers), sizeof(*p));
    SOTTO_ASSERT(p != NULL);
    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < PEERS_LOCKS; i++) pthread_mutex_init(&p->locks[i].mutex, NULL);
    p->sets_mask = entries / PEERS_WAYS - 1;
    p->bytes = entries * sizeof(struct pair);
    p->sets = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SOTTO_ASSERT((void *)p->sets != MAP_FAILED);
    return p;
}

void peers_destroy(struct peers **peers)
{
    struct peers *p = *peers;
    if (p == NULL) return;
    *peers = NULL;
    munmap(p->sets, p->bytes);
    for (size_t i = 0; i < PEERS_LOCKS; i++) pthread_mutex_destroy(&p->locks[i].mutex);
    free(p);
}

enum peers_answer peers_find(struct peers *p, struct id conversation, struct id me, struct id *peer_out)
{
    size_t set = id_hash(conversation) & p->sets_mask;
    struct peers_lock *lock = &p->locks[set % PEERS_LOCKS];
    enum peers_answer answer = PEERS_UNKNOWN;
    pthread_mutex_lock(&lock->mutex);
    for (size_t i = 0; i < PEERS_WAYS && answer == PEERS_UNKNOWN; i++) {
        const struct pair *pair = &p->sets[set][i];
        if (!id_eq(pair->conversation, conversation)) continue;
        answer = id_is_zero(pair->b) ? PEERS_OTHER : PEERS_STRANGER;
        if (answer == PEERS_OTHER || (!id_eq(pair->a, me) && !id_eq(pair->b, me))) continue;
        *peer_out = id_eq(pair->a, me) ? pair->b : pair->a;
        answer = PEERS_DIRECT;
    }
    pthread_mutex_unlock(&lock->mutex);
    return answer;
}

void peers_put(struct peers *p, struct id conversation, struct id a, struct id b)
{
    if (id_is_zero(conversation)) return; /* marks a free place */
    size_t set = id_hash(conversation) & p->sets_mask;
    struct peers_lock *lock = &p->locks[set % PEERS_LOCKS];
    pthread_mutex_lock(&lock->mutex);
    size_t at = lock->turn++ % PEERS_WAYS;
    for (size_t i = 0; i < PEERS_WAYS; i++)
        if (id_eq(p->sets[set][i].conversation, conversation)) at = i;
    p->sets[set][at] = (struct pair){conversation, a, b};
    pthread_mutex_unlock(&lock->mutex);
}
