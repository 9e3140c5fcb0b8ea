/* See buffers.h. A buffer's name is its group in the top bits and its index below; the index leads
 * through the slab table to memory and reference count. */
#include "lb/uring/buffers.h"

#include <sys/mman.h>

#define GROUP_SHIFT    30u
#define INDEX_MASK     ((1u << GROUP_SHIFT) - 1)
#define NO_INDEX       INDEX_MASK
#define SLAB_COUNT_MAX 64u

static const uint32_t group_bytes[URING_GROUPS] = {[URING_TINY] = LP_BUF_TINY_BYTES,
                                                   [URING_SMALL] = LP_BUF_SMALL_BYTES,
                                                   [URING_LARGE] = LP_BUF_LARGE_BYTES};

struct buffer_slab {
    char *memory;
    uint32_t used_count;
    uint32_t next_free[SLAB_COUNT_MAX];
    uint16_t refs[SLAB_COUNT_MAX];
};

static size_t stride(const struct buffer_group *group)
{
    return LP_HEADROOM_BYTES + group->bytes;
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
        [URING_TINY] = 64, [URING_SMALL] = 64, [URING_LARGE] = 8};

    *buffers = (struct buffers){.memory_max = memory_max};
    for (uint32_t g = 0; g < URING_GROUPS; g++)
        buffers->groups[g] = (struct buffer_group){
            .bytes = group_bytes[g], .slab_count = slab_counts[g], .free_first = NO_INDEX};
}

static void free_slab(struct buffers *buffers, struct buffer_group *group, uint32_t slab_index)
{
    struct buffer_slab *slab = group->slabs[slab_index];
    size_t bytes = stride(group) * group->slab_count;

    munmap(slab->memory, bytes);
    lp_free(slab);
    group->slabs[slab_index] = NULL;
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

/* Room for the published buffers is always granted; beyond that memory_max decides. */
static bool may_grow(const struct buffers *buffers, const struct buffer_group *group)
{
    size_t bytes = stride(group) * group->slab_count;
    return group->total_count < group->published_count + group->slab_count ||
           buffers->bytes_allocated + bytes <= buffers->bytes_published_max + buffers->memory_max;
}

static bool grow(struct buffers *buffers, struct buffer_group *group)
{
    size_t bytes = stride(group) * group->slab_count;
    if (!may_grow(buffers, group))
        return false;
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
    for (uint32_t i = group->slab_count; i-- > 0;) {
        slab->next_free[i] = group->free_first;
        group->free_first = place * group->slab_count + i;
    }
    group->free_count += group->slab_count;
    group->total_count += group->slab_count;
    buffers->bytes_allocated += bytes;
    return true;
}

uint32_t buffers_take(struct buffers *buffers, enum uring_group which)
{
    struct buffer_group *group = &buffers->groups[which];
    if (group->free_count == 0 && !grow(buffers, group))
        return URING_NO_BUFFER;

    uint32_t index = group->free_first;
    struct buffer_slab *slab = group->slabs[index / group->slab_count];
    group->free_first = slab->next_free[index % group->slab_count];
    group->free_count--;
    slab->used_count++;
    slab->refs[index % group->slab_count] = 1;
    return (uint32_t)which << GROUP_SHIFT | index;
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

/* An empty slab goes back when two slabs' worth would stay free without it. Its members leave the
 * free list in one walk. */
static void give_back(struct buffers *buffers, struct buffer_group *group, uint32_t slab_index)
{
    uint32_t first = slab_index * group->slab_count, *link = &group->free_first;
    while (*link != NO_INDEX) {
        uint32_t index = *link;
        struct buffer_slab *slab = group->slabs[index / group->slab_count];
        if (index - first < group->slab_count)
            *link = slab->next_free[index % group->slab_count];
        else
            link = &slab->next_free[index % group->slab_count];
    }
    group->free_count -= group->slab_count;
    free_slab(buffers, group, slab_index);
}

void buffers_put(struct buffers *buffers, uint32_t buffer)
{
    struct buffer_group *group = group_of(buffers, buffer);
    struct buffer_slab *slab = slab_of(group, buffer);
    uint32_t index = buffer & INDEX_MASK, at = index % group->slab_count;

    LP_ASSERT(slab->refs[at] > 0);
    if (--slab->refs[at] > 0)
        return;
    slab->next_free[at] = group->free_first;
    group->free_first = index;
    group->free_count++;
    if (--slab->used_count == 0 && group->free_count >= 3 * group->slab_count)
        give_back(buffers, group, index / group->slab_count);
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
    return group->free_count + (may_grow(buffers, group) ? group->slab_count : 0);
}

uint32_t buffers_size(uint32_t buffer)
{
    return group_bytes[buffer >> GROUP_SHIFT];
}
