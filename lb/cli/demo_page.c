/* Puts lb/cli/demo.html into the program as it is, so that it can be edited as what it is. */
#include "lb/cli/demo.h"

extern const char demo_page_begin[]; /* NUL-terminated */

__asm__(".pushsection .rodata\n"
        ".globl demo_page_begin\n"
        "demo_page_begin: .incbin \"lb/cli/demo.html\"\n"
        ".byte 0\n"
        ".popsection\n");

struct lp_slice demo_page(void)
{
    return lp_slice_of(demo_page_begin);
}
