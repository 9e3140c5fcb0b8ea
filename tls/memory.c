/* Heaps of slabs. This file decides which size a block gets, when memory goes back to the system
 * and how a block finds home; start at tls_memory_get() and tls_memory_put().
 *
 * A slab begins at a multiple of its size, so a block's address leads to it, and the slab knows its
 * heap. The heap's thread uses it without locks; any other pushes a block on the heap's stack
 * `remote`, which the thread empties with its next call. When the thread has ended nobody would, so
 * the stack is closed, and from then on the heap's lock stands in for the thread. The heap of the
 * threads that have none is one that was never open. */
#include "tls/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/settings.h>

#include "base/poison.h"
#ifdef LP_POISONS
#include <sanitizer/lsan_interface.h>
/* What only a block of ours points to is not lost. */
#define root(memory, size)   __lsan_register_root_region(memory, size)
#define unroot(memory, size) __lsan_unregister_root_region(memory, size)
#else
#define root(memory, size)   ((void)(memory), (void)(size))
#define unroot(memory, size) ((void)(memory), (void)(size))
#endif

#define SLAB_BYTES      ((size_t)256 * 1024)
#define SLAB_HEAD_BYTES LP_CACHE_LINE

/* Measured: an idle session of a server holds 1728, 528, twice 448, 64 of our own, and eight of up
 * to 32 bytes, one of a client 434 besides; a handshake takes 512 to 10752 for a moment, and a
 * record's buffer is 16401 to 16645. What lives for a moment only may waste some. */
static const uint32_t block_bytes[] = {16,   32,   48,    64,    96,    128,  192,  256,
                                       448,  528,  768,   1088,  1328,  1728, 2400, 4304,
                                       5184, 8448, 10752, 16704, 24576, 36864};
#define CLASSES_COUNT LP_COUNT_OF(block_bytes)
#define ALONE         CLASSES_COUNT /* a block too large for every class has a slab for itself */

/* A free block. */
struct block {
    struct block *next;
};

struct heap;

struct slab {
    struct heap *heap;    /* NULL for a block alone */
    struct lp_list link;  /* heap->usable, unless full */
    struct block *free;   /* blocks that came back */
    size_t size;          /* of the whole slab */
    uint32_t class_index; /* in block_bytes, or ALONE */
    uint32_t blocks_count, used_count;
    uint32_t fresh_index; /* from here on no block was given since the slab was empty */
};
static_assert(sizeof(struct slab) <= SLAB_HEAD_BYTES, "blocks begin behind it");

struct heap {
    /* Slabs with a free block; those in use come first, so that empty ones stay empty. */
    struct lp_list usable[CLASSES_COUNT];
    uint32_t empty_count[CLASSES_COUNT];
    uint32_t rested; /* a set of classes: whose empty slab nobody took since the last trim */
    struct tls_memory_use use;
    /* Written by others, therefore on a line of its own. */
    _Alignas(LP_CACHE_LINE) _Atomic(struct block *) remote;
    pthread_mutex_t lock; /* in the place of a thread, once the stack is closed */
};

/* What a closed stack holds: no address of a block. */
#define CLOSED ((struct block *)1)

static struct heap shared_heap = {.remote = CLOSED, .lock = PTHREAD_MUTEX_INITIALIZER};
static _Thread_local struct heap *own_heap;

/* ---- Slabs ---- */

/* Memory that begins at a multiple of SLAB_BYTES, or NULL. */
static char *map_aligned(size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    if ((uintptr_t)memory % SLAB_BYTES == 0)
        return memory; /* mostly: the kernel puts the next mapping right below the last one */
    munmap(memory, size);
    memory =
        mmap(NULL, size + SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    size_t before = (SLAB_BYTES - (uintptr_t)memory % SLAB_BYTES) % SLAB_BYTES;
    if (before > 0)
        munmap(memory, before);
    if (before < SLAB_BYTES)
        munmap(memory + before + size, SLAB_BYTES - before);
    return memory + before;
}

static struct slab *map_slab(size_t size, uint32_t class_index, struct heap *heap)
{
    char *memory = map_aligned(size);
    struct slab *slab = (struct slab *)(void *)memory;

    if (memory == NULL)
        return NULL;
    *slab = (struct slab){.heap = heap, .size = size, .class_index = class_index};
    lp_list_init(&slab->link);
    root(memory, size);
    return slab;
}

static void unmap_slab(struct slab *slab)
{
    size_t size = slab->size;

    unroot(slab, size);
    LP_UNPOISON(slab, size);
    munmap(slab, size);
}

static struct slab *slab_of(const void *memory)
{
    return (struct slab *)((uintptr_t)memory & ~(uintptr_t)(SLAB_BYTES - 1));
}

static size_t room_of(const struct slab *slab)
{
    return slab->class_index == ALONE ? slab->size - SLAB_HEAD_BYTES
                                      : block_bytes[slab->class_index];
}

static struct block *block_at(struct slab *slab, uint32_t index)
{
    char *first = (char *)slab + SLAB_HEAD_BYTES;

    return (struct block *)(void *)(first + (size_t)block_bytes[slab->class_index] * index);
}

static bool slab_is_full(const struct slab *slab)
{
    return slab->used_count == slab->blocks_count;
}

/* ---- Heaps ---- */

static void heap_init(struct heap *heap)
{
    for (uint32_t i = 0; i < CLASSES_COUNT; i++)
        lp_list_init(&heap->usable[i]);
}

static struct slab *add_slab(struct heap *heap, uint32_t class_index)
{
    struct slab *slab = map_slab(SLAB_BYTES, class_index, heap);

    if (slab == NULL)
        return NULL;
    slab->blocks_count = (SLAB_BYTES - SLAB_HEAD_BYTES) / block_bytes[class_index];
    LP_POISON((char *)slab + SLAB_HEAD_BYTES, SLAB_BYTES - SLAB_HEAD_BYTES);
    lp_list_push_front(&heap->usable[class_index], &slab->link);
    heap->empty_count[class_index]++;
    heap->use.slabs_count++;
    heap->use.slab_bytes += SLAB_BYTES;
    heap->use.maps_count++;
    return slab;
}

static void free_slab(struct heap *heap, struct slab *slab)
{
    lp_list_remove(&slab->link);
    heap->empty_count[slab->class_index]--;
    heap->use.slabs_count--;
    heap->use.slab_bytes -= SLAB_BYTES;
    unmap_slab(slab);
}

static void *heap_get(struct heap *heap, uint32_t class_index, size_t size)
{
    struct lp_list *usable = &heap->usable[class_index];
    struct slab *slab = lp_list_is_empty(usable) ? add_slab(heap, class_index)
                                                 : lp_container_of(usable->next, struct slab, link);

    if (slab == NULL)
        return NULL;
    struct block *block = slab->free;
    if (block != NULL) {
        LP_UNPOISON(block, sizeof(*block));
        slab->free = block->next;
        LP_POISON(block, sizeof(*block));
    } else
        block = block_at(slab, slab->fresh_index++);
    LP_UNPOISON(block, size);
    if (slab->used_count++ == 0) {
        heap->empty_count[class_index]--;
        heap->rested &= ~(1u << class_index);
    }
    if (slab_is_full(slab))
        lp_list_remove(&slab->link);
    heap->use.blocks_count++;
    return block;
}

/* One empty slab of each size is kept. It starts again from its first page. */
static void on_empty_slab(struct heap *heap, struct slab *slab)
{
    heap->empty_count[slab->class_index]++;
    if (heap->empty_count[slab->class_index] > 1) {
        free_slab(heap, slab);
        return;
    }
    slab->free = NULL;
    slab->fresh_index = 0;
    lp_list_remove(&slab->link);
    lp_list_push_back(&heap->usable[slab->class_index], &slab->link);
}

static void heap_put(struct heap *heap, struct block *block)
{
    struct slab *slab = slab_of(block);

    LP_ASSERT(slab->used_count > 0);
    if (slab_is_full(slab))
        lp_list_push_front(&heap->usable[slab->class_index], &slab->link);
    block->next = slab->free;
    slab->free = block;
    LP_POISON(block, block_bytes[slab->class_index]);
    heap->use.blocks_count--;
    if (--slab->used_count == 0)
        on_empty_slab(heap, slab);
}

/* Empty ones stand behind those in use. */
static bool trim(struct heap *heap)
{
    for (uint32_t i = 0; i < CLASSES_COUNT; i++) {
        if (heap->empty_count[i] == 0)
            continue;
        if ((heap->rested >> i & 1) != 0)
            free_slab(heap, lp_container_of(heap->usable[i].prev, struct slab, link));
        heap->rested ^= 1u << i;
    }
    return heap->rested != 0;
}

static void take_back(struct heap *heap, struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        heap_put(heap, block);
        block = next;
    }
}

/* What others have put back since the last call. */
static void collect_remote(struct heap *heap)
{
    if (atomic_load_explicit(&heap->remote, memory_order_relaxed) != NULL)
        take_back(heap, atomic_exchange_explicit(&heap->remote, NULL, memory_order_acquire));
}

/* The last block is back and the thread is gone: nobody knows the heap any more. */
static void heap_destroy(struct heap *heap)
{
    for (uint32_t i = 0; i < CLASSES_COUNT; i++)
        while (!lp_list_is_empty(&heap->usable[i]))
            free_slab(heap, lp_container_of(heap->usable[i].next, struct slab, link));
    pthread_mutex_destroy(&heap->lock);
    lp_free(heap);
}

static void put_under_lock(struct heap *heap, struct block *block)
{
    pthread_mutex_lock(&heap->lock);
    heap_put(heap, block);
    bool is_last = heap != &shared_heap && heap->use.blocks_count == 0;
    pthread_mutex_unlock(&heap->lock);
    if (is_last)
        heap_destroy(heap);
}

/* From a thread that is not the heap's. */
static void put_remote(struct heap *heap, struct block *block)
{
    struct block *first = atomic_load_explicit(&heap->remote, memory_order_acquire);

    do {
        if (first == CLOSED) {
            put_under_lock(heap, block);
            return;
        }
        block->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&heap->remote, &first, block,
                                                    memory_order_release, memory_order_acquire));
}

/* ---- The contract ---- */

static void *get_alone(size_t size)
{
    size_t whole = (size + SLAB_HEAD_BYTES + 4095) & ~(size_t)4095;

    if (whole < size || whole > SIZE_MAX / 2)
        return NULL;
    struct slab *slab = map_slab(whole, ALONE, NULL);
    return slab == NULL ? NULL : (char *)slab + SLAB_HEAD_BYTES;
}

bool tls_memory_trim(void)
{
    if (own_heap != NULL) {
        collect_remote(own_heap);
        return trim(own_heap);
    }
    pthread_mutex_lock(&shared_heap.lock);
    bool may_trim = trim(&shared_heap);
    pthread_mutex_unlock(&shared_heap.lock);
    return may_trim;
}

void *tls_memory_get(size_t size)
{
    struct heap *heap = own_heap;
    uint32_t class_index = 0;

    while (class_index < CLASSES_COUNT && block_bytes[class_index] < size)
        class_index++;
    if (class_index == ALONE)
        return get_alone(size);
    if (heap != NULL) {
        collect_remote(heap);
        return heap_get(heap, class_index, size);
    }
    pthread_mutex_lock(&shared_heap.lock);
    void *memory = heap_get(&shared_heap, class_index, size);
    pthread_mutex_unlock(&shared_heap.lock);
    return memory;
}

void tls_memory_put(void *memory)
{
    if (memory == NULL)
        return;
    struct slab *slab = slab_of(memory);
    LP_POISON(memory, room_of(slab));
    LP_UNPOISON(memory, sizeof(struct block));
    if (slab->class_index == ALONE)
        unmap_slab(slab);
    else if (slab->heap != own_heap)
        put_remote(slab->heap, memory);
    else {
        heap_put(own_heap, memory);
        collect_remote(own_heap);
    }
}

void *tls_memory_resize(void *memory, size_t size)
{
    if (memory == NULL)
        return tls_memory_get(size);
    size_t room = room_of(slab_of(memory));
    /* Not much larger than it needs to be: it may stay for long. */
    if (size <= room && size > room / 2) {
        LP_POISON(memory, room);
        LP_UNPOISON(memory, size);
        return memory;
    }
    void *copy = tls_memory_get(size);
    if (copy == NULL)
        return NULL;
    LP_UNPOISON(memory, room);
    memcpy(copy, memory, size < room ? size : room);
    tls_memory_put(memory);
    return copy;
}

void tls_memory_install(void)
{
    heap_init(&shared_heap);
    LP_ASSERT(wolfSSL_SetAllocators(tls_memory_get, tls_memory_put, tls_memory_resize) == 0);
}

void tls_memory_thread_begin(void)
{
    LP_ASSERT(own_heap == NULL);
    own_heap = lp_alloc_lines(sizeof(*own_heap));
    heap_init(own_heap);
    pthread_mutex_init(&own_heap->lock, NULL);
}

void tls_memory_thread_end(void)
{
    struct heap *heap = own_heap;

    LP_ASSERT(heap != NULL);
    own_heap = NULL;
    /* Under the lock, because who finds the stack closed goes on at once. */
    pthread_mutex_lock(&heap->lock);
    take_back(heap, atomic_exchange_explicit(&heap->remote, CLOSED, memory_order_acq_rel));
    bool is_last = heap->use.blocks_count == 0;
    pthread_mutex_unlock(&heap->lock);
    if (is_last)
        heap_destroy(heap);
}

void tls_memory_look(struct tls_memory_use *out)
{
    struct heap *heap = own_heap != NULL ? own_heap : &shared_heap;

    if (heap == &shared_heap)
        pthread_mutex_lock(&heap->lock);
    else
        collect_remote(heap);
    *out = heap->use;
    if (heap == &shared_heap)
        pthread_mutex_unlock(&heap->lock);
}
