/* Puts lb/cli/demo.html into the program as it is, so that it can be edited as what it is. */
#include "lb/cli/demo.h"

extern const char demo_page_begin[], demo_page_end[];

__asm__(".pushsection .rodata\n"
        ".globl demo_page_begin, demo_page_end\n"
        "demo_page_begin: .incbin \"lb/cli/demo.html\"\n"
        "demo_page_end: .byte 0\n"
        ".popsection\n");

struct lp_slice demo_page(void)
{
    return (struct lp_slice){demo_page_begin, (size_t)(demo_page_end - demo_page_begin)};
}
