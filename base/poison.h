/* poison: free memory that the address sanitizer should see anyone touch. Nothing in other builds.
 */
#ifndef LP_BASE_POISON_H
#define LP_BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define LP_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LP_POISONS 1
#endif
#endif

#ifdef LP_POISONS
#include <sanitizer/asan_interface.h>
#define LP_POISON(memory, size)   __asan_poison_memory_region(memory, size)
#define LP_UNPOISON(memory, size) __asan_unpoison_memory_region(memory, size)
#else
#define LP_POISON(memory, size)   ((void)(memory), (void)(size))
#define LP_UNPOISON(memory, size) ((void)(memory), (void)(size))
#endif

#endif
