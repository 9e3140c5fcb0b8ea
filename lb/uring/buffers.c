/* See buffers.h. A buffer's name is its group in the top bits and its index below; the index leads
 * through the slab table to memory and reference count. Buffers are taken from the lowest slab that
 * has one, so the higher ones become empty and go back. */
#include "lb/uring/buffers.h"

#include <sys/mman.h>

#define GROUP_SHIFT    30u
#define INDEX_MASK     ((1u << GROUP_SHIFT) - 1)
#define SLAB_COUNT_MAX 64u
#define NO_PLACE       UINT8_MAX

static const uint32_t group_bytes[URING_GROUPS] = {[URING_TINY] = LP_BUF_TINY_BYTES,
                                                   [URING_SMALL] = LP_BUF_SMALL_BYTES,
                                                   [URING_LARGE] = LP_BUF_LARGE_BYTES};

struct buffer_slab {
    char *memory;
    uint8_t used_count, first_free; /* NO_PLACE: none is free */
    uint8_t next_free[SLAB_COUNT_MAX];
    uint16_t refs[SLAB_COUNT_MAX];
};

static size_t stride(const struct buffer_group *group)
{
    return LP_HEADROOM_BYTES + group->bytes;
}

static size_t slab_bytes(const struct buffer_group *group)
{
    return stride(group) * group->slab_count;
}

static struct buffer_group *group_of(const struct buffers *buffers, uint32_t buffer)
{
    return (struct buffer_group *)(uintptr_t)&buffers->groups[buffer >> GROUP_SHIFT];
}

static struct buffer_slab *slab_of(const struct buffer_group *group, uint32_t buffer)
{
    return group->slabs[(buffer & INDEX_MASK) / group->slab_count];
}

void buffers_init(struct buffers *buffers, size_t memory_max)
{
    static const uint32_t slab_counts[URING_GROUPS] = {
        [URING_TINY] = 64, [URING_SMALL] = 16, [URING_LARGE] = 2};

    *buffers = (struct buffers){.memory_max = memory_max};
    for (uint32_t g = 0; g < URING_GROUPS; g++)
        buffers->groups[g] =
            (struct buffer_group){.bytes = group_bytes[g], .slab_count = slab_counts[g]};
}

static void free_slab(struct buffers *buffers, struct buffer_group *group, uint32_t place)
{
    struct buffer_slab *slab = group->slabs[place];
    size_t bytes = slab_bytes(group);

    munmap(slab->memory, bytes);
    group->free_count -= group->slab_count - slab->used_count;
    group->empty_count -= slab->used_count == 0;
    lp_free(slab);
    group->slabs[place] = NULL;
    group->total_count -= group->slab_count;
    buffers->bytes_allocated -= bytes;
}

void buffers_deinit(struct buffers *buffers)
{
    for (uint32_t g = 0; g < URING_GROUPS; g++) {
        struct buffer_group *group = &buffers->groups[g];
        for (uint32_t i = 0; i < group->slabs_count; i++)
            if (group->slabs[i] != NULL)
                free_slab(buffers, group, i);
        lp_free(group->slabs);
    }
}

static uint32_t free_slab_place(struct buffer_group *group)
{
    for (uint32_t i = 0; i < group->slabs_count; i++)
        if (group->slabs[i] == NULL)
            return i;
    if (group->slabs_count == group->slabs_room) {
        group->slabs_room = group->slabs_room == 0 ? 8 : group->slabs_room * 2;
        group->slabs = lp_realloc(group->slabs, group->slabs_room * sizeof(*group->slabs));
    }
    group->slabs[group->slabs_count] = NULL;
    return group->slabs_count++;
}

static bool is_large(const struct buffers *buffers, const struct buffer_group *group)
{
    return group == &buffers->groups[URING_LARGE];
}

/* Above half of memory_max streams go on through small ones. Published large ones will be held
 * soon. */
static bool has_room_for_large(const struct buffers *buffers)
{
    const struct buffer_group *large = &buffers->groups[URING_LARGE];
    size_t published = (size_t)large->in_kernel_count * stride(large);

    return buffers_held(buffers) + published + stride(large) <= buffers->memory_max / 2;
}

static size_t empty_bytes(const struct buffers *buffers)
{
    size_t bytes = 0;
    for (uint32_t g = 0; g < URING_GROUPS; g++)
        bytes += buffers->groups[g].empty_count * slab_bytes(&buffers->groups[g]);
    return bytes;
}

/* Room for the published tiny and small buffers is always granted; beyond that memory_max decides,
 * in which empty slabs of the other groups do not count: they go back. */
static bool may_grow(const struct buffers *buffers, const struct buffer_group *group)
{
    if (is_large(buffers, group) && !has_room_for_large(buffers))
        return false;
    if (!is_large(buffers, group) &&
        group->total_count < group->published_count + group->slab_count)
        return true;
    return buffers->bytes_allocated - empty_bytes(buffers) + slab_bytes(group) <=
           buffers->bytes_published_max + buffers->memory_max;
}

static void free_empty_slabs(struct buffers *buffers, struct buffer_group *group)
{
    for (uint32_t i = 0; i < group->slabs_count; i++)
        if (group->slabs[i] != NULL && group->slabs[i]->used_count == 0)
            free_slab(buffers, group, i);
    group->free_low = group->free_count < group->free_low ? group->free_count : group->free_low;
}

static void make_room(struct buffers *buffers, size_t bytes)
{
    size_t bytes_max = buffers->bytes_published_max + buffers->memory_max;

    for (uint32_t g = URING_GROUPS; g-- > 0;)
        if (buffers->bytes_allocated + bytes > bytes_max && buffers->groups[g].empty_count > 0)
            free_empty_slabs(buffers, &buffers->groups[g]);
}

static bool grow(struct buffers *buffers, struct buffer_group *group)
{
    size_t bytes = slab_bytes(group);

    make_room(buffers, bytes);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct buffer_slab *slab = memory == MAP_FAILED ? NULL : lp_try_alloc(sizeof(*slab));
    if (slab == NULL) {
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        return false;
    }
    *slab = (struct buffer_slab){.memory = memory};
    uint32_t place = free_slab_place(group);
    group->slabs[place] = slab;
    if (place < group->lowest)
        group->lowest = place;
    for (uint32_t i = 0; i < group->slab_count; i++)
        slab->next_free[i] = (uint8_t)(i + 1 < group->slab_count ? i + 1 : NO_PLACE);
    group->empty_count++;
    group->free_count += group->slab_count;
    group->total_count += group->slab_count;
    buffers->bytes_allocated += bytes;
    return true;
}

uint32_t buffers_take_anyway(struct buffers *buffers, enum uring_group which)
{
    struct buffer_group *group = &buffers->groups[which];
    if (group->free_count == 0 && !grow(buffers, group))
        return URING_NO_BUFFER;

    while (group->slabs[group->lowest] == NULL ||
           group->slabs[group->lowest]->first_free == NO_PLACE)
        group->lowest++;
    struct buffer_slab *slab = group->slabs[group->lowest];
    uint32_t at = slab->first_free;
    slab->first_free = slab->next_free[at];
    group->empty_count -= slab->used_count++ == 0;
    slab->refs[at] = 1;
    if (--group->free_count < group->free_low)
        group->free_low = group->free_count;
    buffers->bytes_used += stride(group);
    return (uint32_t)which << GROUP_SHIFT | (group->lowest * group->slab_count + at);
}

static bool may_take(const struct buffers *buffers, const struct buffer_group *group)
{
    return group->free_count == 0 ? may_grow(buffers, group)
                                  : !is_large(buffers, group) || has_room_for_large(buffers);
}

uint32_t buffers_take(struct buffers *buffers, enum uring_group which)
{
    return may_take(buffers, &buffers->groups[which]) ? buffers_take_anyway(buffers, which)
                                                      : URING_NO_BUFFER;
}

void buffers_publish(struct buffers *buffers, uint32_t buffer)
{
    struct buffer_group *group = group_of(buffers, buffer);

    group->in_kernel_count++;
    buffers->bytes_published += stride(group);
}

void buffers_claim(struct buffers *buffers, uint32_t buffer)
{
    struct buffer_group *group = group_of(buffers, buffer);

    group->in_kernel_count--;
    buffers->bytes_published -= stride(group);
}

void buffers_ref(struct buffers *buffers, uint32_t buffer)
{
    struct buffer_group *group = group_of(buffers, buffer);
    slab_of(group, buffer)->refs[(buffer & INDEX_MASK) % group->slab_count]++;
}

uint32_t buffers_refs(const struct buffers *buffers, uint32_t buffer)
{
    const struct buffer_group *group = group_of(buffers, buffer);
    return slab_of(group, buffer)->refs[(buffer & INDEX_MASK) % group->slab_count];
}

void buffers_put(struct buffers *buffers, uint32_t buffer)
{
    struct buffer_group *group = group_of(buffers, buffer);
    uint32_t index = buffer & INDEX_MASK, place = index / group->slab_count,
             at = index % group->slab_count;
    struct buffer_slab *slab = group->slabs[place];

    LP_ASSERT(slab->refs[at] > 0);
    if (--slab->refs[at] > 0)
        return;
    slab->next_free[at] = slab->first_free;
    slab->first_free = (uint8_t)at;
    buffers->bytes_used -= stride(group);
    group->empty_count += --slab->used_count == 0;
    group->free_count++;
    if (place < group->lowest)
        group->lowest = place;
}

/* What was free all the time since the last call is not needed: slabs as far as it reaches. */
void buffers_trim(struct buffers *buffers)
{
    for (uint32_t g = 0; g < URING_GROUPS; g++) {
        struct buffer_group *group = &buffers->groups[g];
        for (uint32_t i = group->slabs_count; i-- > 0 && group->free_low >= group->slab_count;) {
            if (group->slabs[i] == NULL || group->slabs[i]->used_count > 0)
                continue;
            free_slab(buffers, group, i);
            group->free_low -= group->slab_count;
        }
        group->free_low = group->free_count;
    }
}

bool buffers_may_trim(const struct buffers *buffers)
{
    for (uint32_t g = 0; g < URING_GROUPS; g++)
        if (buffers->groups[g].empty_count > 0)
            return true;
    return false;
}

char *buffers_base(const struct buffers *buffers, uint32_t buffer)
{
    const struct buffer_group *group = group_of(buffers, buffer);
    return slab_of(group, buffer)->memory +
           stride(group) * ((buffer & INDEX_MASK) % group->slab_count);
}

uint32_t buffers_obtainable(const struct buffers *buffers, enum uring_group which)
{
    const struct buffer_group *group = &buffers->groups[which];
    if (!may_take(buffers, group))
        return 0;
    return group->free_count + (may_grow(buffers, group) ? group->slab_count : 0);
}

uint32_t buffers_size(uint32_t buffer)
{
    return group_bytes[buffer >> GROUP_SHIFT];
}
