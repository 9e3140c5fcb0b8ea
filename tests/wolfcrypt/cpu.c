/* Makes wolfSSL believe that the processor lacks what LIMPET_TEST_WITHOUT names, as "aesni,avx2" or
 * "all": linked to a test program, it speaks before main(). The library asks its own record of the
 * processor each time, so from then on the other code paths run. Says on standard error what is
 * left, because a test under an emulated processor wants to know, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/wolfcrypt/settings.h>

#include <wolfssl/wolfcrypt/cpuid.h>

static const struct {
    const char *name;
    cpuid_flags_t flag;
} features[] = {
    {"aesni", CPUID_AESNI},   {"avx", CPUID_AVX1},    {"avx2", CPUID_AVX2},
    {"bmi1", CPUID_BMI1},     {"bmi2", CPUID_BMI2},   {"adx", CPUID_ADX},
    {"sha", CPUID_SHA},       {"movbe", CPUID_MOVBE}, {"rdrand", CPUID_RDRAND},
    {"rdseed", CPUID_RDSEED},
};

static cpuid_flags_t flag_of(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (strlen(features[i].name) == size && memcmp(features[i].name, name, size) == 0)
            return features[i].flag;
    fprintf(stderr, "LIMPET_TEST_WITHOUT: no feature is called %.*s\n", (int)size, name);
    exit(2);
}

static cpuid_flags_t named_flags(const char *names)
{
    cpuid_flags_t flags = 0;

    if (strcmp(names, "all") == 0)
        return ~flags;
    while (*names != 0) {
        size_t size = strcspn(names, ",");
        flags |= flag_of(names, size);
        names += size + (names[size] == ',');
    }
    return flags;
}

__attribute__((constructor)) static void lose_features(void)
{
    const char *without = getenv("LIMPET_TEST_WITHOUT");

    if (without != NULL)
        cpuid_select_flags(cpuid_get_flags() & ~named_flags(without));
    fprintf(stderr, "cpu:");
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if ((cpuid_get_flags() & features[i].flag) != 0)
            fprintf(stderr, " %s", features[i].name);
    fprintf(stderr, "\n");
}
