/* pki: certificates, keys and OCSP responses for the unit tests of tls/. Made once with OpenSSL's
 * command, valid for 100 years from 2026-11-21; nothing trusts them. Times are tested by asking
 * about other days. */
#ifndef LP_TESTS_PKI_H
#define LP_TESTS_PKI_H

#include "base/base.h"
#include "tls/pem.h"

/* The first certificate of a PEM text. */
static inline struct lp_slice pki_der(struct lp_arena *arena, const char *pem)
{
    struct lp_slice text = lp_slice_of(pem), der;
    struct pem_block block;

    LP_ASSERT(pem_next(&text, &block) == PEM_BLOCK);
    LP_ASSERT(pem_decode(&der, &block, arena));
    return der;
}

/* clang-format off */
/* CN=root,O=limpet tests: signed itself and the middle one. */
#define PKI_ROOT \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBszCCAVmgAwIBAgIUAySnoNRF+qNC4wApT1xuvH8ZJY4wCgYIKoZIzj0EAwIw\n" \
    "JjEVMBMGA1UECgwMbGltcGV0IHRlc3RzMQ0wCwYDVQQDDARyb290MCAXDTI2MTEy\n" \
    "MTEwMjkxMFoYDzIxMjYxMDI4MTAyOTEwWjAmMRUwEwYDVQQKDAxsaW1wZXQgdGVz\n" \
    "dHMxDTALBgNVBAMMBHJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARpWnP8\n" \
    "xE/FH9KVXtM4uN6wx6tvipBF4XVAn+bozvxGvkXGWNvJJT/RHEkvWuh/iSH5ItDv\n" \
    "AoWwqz78z1xO9iaHo2MwYTAdBgNVHQ4EFgQUKH4n6xE8YHLwE18NkwlvUQSuzj8w\n" \
    "HwYDVR0jBBgwFoAUKH4n6xE8YHLwE18NkwlvUQSuzj8wDwYDVR0TAQH/BAUwAwEB\n" \
    "/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDSAAwRQIgFFsRUsB5TWAaDdA6\n" \
    "L1QFwRaNTYleKlYKBGJsGKhkIPACIQDhLGpCfPml8Depg8StjV4Q2oTwejbyGU6Y\n" \
    "ale1lbApOQ==\n" \
    "-----END CERTIFICATE-----\n"

/* CN=middle,O=limpet tests: signed PKI_LEAF and PKI_OTHER. */
#define PKI_MIDDLE \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBpDCCAUmgAwIBAgICEAEwCgYIKoZIzj0EAwIwJjEVMBMGA1UECgwMbGltcGV0\n" \
    "IHRlc3RzMQ0wCwYDVQQDDARyb290MCAXDTI2MTEyMTEwMjkxMFoYDzIxMjYxMDI4\n" \
    "MTAyOTEwWjAoMRUwEwYDVQQKDAxsaW1wZXQgdGVzdHMxDzANBgNVBAMMBm1pZGRs\n" \
    "ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCZvY3IZMxqHnyFmlaFc3RcIvus0\n" \
    "gn9acCQsKywB3Q4hK5dT92Hk51xsD+rC/77BA0ZJgkgtDnfYCzL9EqlyvN+jYzBh\n" \
    "MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgGGMB0GA1UdDgQWBBTrkVQv\n" \
    "/nPPlmSjx0CcHwt9grdBWDAfBgNVHSMEGDAWgBQofifrETxgcvATXw2TCW9RBK7O\n" \
    "PzAKBggqhkjOPQQDAgNJADBGAiEAyFTXpJj9xPvSOoRXw7vycUwfZHnSyO/H7snb\n" \
    "evtMZYYCIQDIg18zzgjdxrIedTx++F6NDciPKshXURo1rdYztO4FJA==\n" \
    "-----END CERTIFICATE-----\n"

/* CN=www.example.com: P-256; DNS WWW.example.com, *.example.com, *.com, example.org,
 * IP 192.0.2.1 and 2001:db8::1, a mail address and a URI. Serial number 2001. */
#define PKI_LEAF \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIICKDCCAc2gAwIBAgICIAEwCgYIKoZIzj0EAwIwKDEVMBMGA1UECgwMbGltcGV0\n" \
    "IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUwIBcNMjYxMTIxMTAyOTEwWhgPMjEyNjEw\n" \
    "MjgxMDI5MTBaMD4xCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxsaW1wZXQgdGVzdHMx\n" \
    "GDAWBgNVBAMMD3d3dy5leGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n" \
    "A0IABKqPu+aXMxuUoRnKi/pEKJJ3FVOkvtV3F1UCQECStDnsV8zvjHBNjv+oYGBS\n" \
    "2RhlrhmxbXM8oTxMAZoSAJ4Kcrqjgc4wgcswCQYDVR0TBAIwADB+BgNVHREEdzB1\n" \
    "gg9XV1cuZXhhbXBsZS5jb22CDSouZXhhbXBsZS5jb22CBSouY29tggtleGFtcGxl\n" \
    "Lm9yZ4cEwAACAYcQIAENuAAAAAAAAAAAAAAAAYENYUBleGFtcGxlLmNvbYYYaHR0\n" \
    "cHM6Ly91cmkuZXhhbXBsZS5uZXQvMB0GA1UdDgQWBBTxCArDJY2F8hYoiF8rYYHu\n" \
    "J7vt8jAfBgNVHSMEGDAWgBTrkVQv/nPPlmSjx0CcHwt9grdBWDAKBggqhkjOPQQD\n" \
    "AgNJADBGAiEAlCC0uqJFX4uA4DEyJI15mJSJibDHa6ddaapj20tYyJMCIQDTLs6O\n" \
    "yyennNwFaeu4ikl1jlNMw3huI9oHmSe5YhWEcw==\n" \
    "-----END CERTIFICATE-----\n"

/* Its key as PKCS#8, as SEC1, and encrypted in both ways. */
#define PKI_LEAF_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBy/f1uXFnAZRLANn\n" \
    "X7n9vrggmsbG6dLLCNMZtdmO8J+hRANCAASqj7vmlzMblKEZyov6RCiSdxVTpL7V\n" \
    "dxdVAkBAkrQ57FfM74xwTY7/qGBgUtkYZa4ZsW1zPKE8TAGaEgCeCnK6\n" \
    "-----END PRIVATE KEY-----\n"

/* SEC1. */
#define PKI_LEAF_SEC1 \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MHcCAQEEIAcv39blxZwGUSwDZ1+5/b64IJrGxunSywjTGbXZjvCfoAoGCCqGSM49\n" \
    "AwEHoUQDQgAEqo+75pczG5ShGcqL+kQokncVU6S+1XcXVQJAQJK0OexXzO+McE2O\n" \
    "/6hgYFLZGGWuGbFtczyhPEwBmhIAngpyug==\n" \
    "-----END EC PRIVATE KEY-----\n"

/* PKCS#8, passphrase "secret". */
#define PKI_LEAF_ENCRYPTED \
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" \
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjT7bnz7M3RqgICCAAw\n" \
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEW4/ys9ULor4FMsybkdffgEgZCR\n" \
    "IcwgEtlRnSWd6uZzRkTymIBuwrnI1QFm3LBwHmaU2OQckp3MIjMBfYFcLKY8PPU2\n" \
    "yHSVUsx8i2QIkkjyfk03l0qgvJLCb7z67D9IeBiSoJzIFpdyUSwqf+7uNmlf85gy\n" \
    "/AoPkJcQ/K3sQ6tHK44EjDcaQGrsO4JFRUPfx6j0QYlQoF86y21Nm60GvPhAJY8=\n" \
    "-----END ENCRYPTED PRIVATE KEY-----\n"

/* SEC1 with RFC 1421's header lines. */
#define PKI_LEAF_PROC_TYPE \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "Proc-Type: 4,ENCRYPTED\n" \
    "DEK-Info: AES-128-CBC,A71534F4618BCE5B95B905D45CF725FB\n" \
    "\n" \
    "b3Y1s4AsYFZzbHPbVovgAL08uN43ftXZR5Q13eZjAPWEbVOW1xT0zxVsy5tGMeG1\n" \
    "wXg3gCHff/r95oO5BUpfYUzMFueINV1oyuRbA6MsqLUys0YayVGH84GzpW8XskpA\n" \
    "To8Lq5Se3ZO9cRDkeCne6zjM2Fq1gab103VYwxkx37g=\n" \
    "-----END EC PRIVATE KEY-----\n"

/* What "openssl ecparam" puts before a key. */
#define PKI_EC_PARAMETERS \
    "-----BEGIN EC PARAMETERS-----\n" \
    "BggqhkjOPQMBBw==\n" \
    "-----END EC PARAMETERS-----\n"

/* DNS other.example.com, *.example.com; serial number 2002. */
#define PKI_OTHER \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBpjCCAUugAwIBAgICIAIwCgYIKoZIzj0EAwIwKDEVMBMGA1UECgwMbGltcGV0\n" \
    "IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUwIBcNMjYxMTIxMTAyOTEwWhgPMjEyNjEw\n" \
    "MjgxMDI5MTBaMBwxGjAYBgNVBAMMEW90aGVyLmV4YW1wbGUuY29tMFkwEwYHKoZI\n" \
    "zj0CAQYIKoZIzj0DAQcDQgAE04hQUBpj9t0/TjQuPAbXoAQJUCAIwTyNn6ZlJnO+\n" \
    "ezENMSkSk0xSaHYx7S3+NU0ll2sw/gKTuV8UnyWAHfmOpqNvMG0wKwYDVR0RBCQw\n" \
    "IoIRb3RoZXIuZXhhbXBsZS5jb22CDSouZXhhbXBsZS5jb20wHQYDVR0OBBYEFFO7\n" \
    "e/BlCjjd7BWYYWSpw1xlLcjDMB8GA1UdIwQYMBaAFOuRVC/+c8+WZKPHQJwfC32C\n" \
    "t0FYMAoGCCqGSM49BAMCA0kAMEYCIQCY5KnlyxnEK5yYJ/JbjGTNzk22gQnknHiq\n" \
    "OteUxGRpSAIhAJxOXQu/B+jIlKM9Of5Pb+Kj2KvJWIgzwgb+TrTEDjO0\n" \
    "-----END CERTIFICATE-----\n"

/* Its key. */
#define PKI_OTHER_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB3fGoc3r3/q6Z3Iv\n" \
    "UouaCIlmi6/k95EJ/XxzwkTXdu6hRANCAATTiFBQGmP23T9ONC48BtegBAlQIAjB\n" \
    "PI2fpmUmc757MQ0xKRKTTFJodjHtLf41TSWXazD+ApO5XxSfJYAd+Y6m\n" \
    "-----END PRIVATE KEY-----\n"

/* A name with everything that needs care. */
#define PKI_CLIENT \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIB7DCCAZGgAwIBAgICMAEwCgYIKoZIzj0EAwIwKDEVMBMGA1UECgwMbGltcGV0\n" \
    "IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUwIBcNMjYxMTIxMTAzMTQ5WhgPMjEyNjEw\n" \
    "MjgxMDMxNDlaMHwxFDASBgoJkiaJk/IsZAEZFgR0ZXN0MRgwFgYDVQQKDA9Nw7xs\n" \
    "bGVyLCBTw7ZobmUxDDAKBgNVBAsMA2EiYjESMBAGA1UEAwwJI3g7PHk+XHogMRQw\n" \
    "EgYJKoZIhvcNAQkBFgVhQGIuYzESMBAGCgmSJomT8ixkAQEMAnUxMFkwEwYHKoZI\n" \
    "zj0CAQYIKoZIzj0DAQcDQgAE04hQUBpj9t0/TjQuPAbXoAQJUCAIwTyNn6ZlJnO+\n" \
    "ezENMSkSk0xSaHYx7S3+NU0ll2sw/gKTuV8UnyWAHfmOpqNVMFMwEQYDVR0RBAow\n" \
    "CIIGY2xpZW50MB0GA1UdDgQWBBRTu3vwZQo43ewVmGFkqcNcZS3IwzAfBgNVHSME\n" \
    "GDAWgBTrkVQv/nPPlmSjx0CcHwt9grdBWDAKBggqhkjOPQQDAgNJADBGAiEAyV1c\n" \
    "kgLMwmVAu4Xc4DKyGSObsuBXEesvx+FyGhZvGtECIQCsLE9eiOHklEqzItVEWdTc\n" \
    "XhI/Cav8sIYraN42cxWu4A==\n" \
    "-----END CERTIFICATE-----\n"

/* CN=rsa.example.com without other names: RSA, 2048 bits, signed by itself. */
#define PKI_RSA \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIDFzCCAf+gAwIBAgIUFf5MvWlDCjhHzq1EvMzxKX4KWiEwDQYJKoZIhvcNAQEL\n" \
    "BQAwGjEYMBYGA1UEAwwPcnNhLmV4YW1wbGUuY29tMCAXDTI2MTEyMTEwMjkxMVoY\n" \
    "DzIxMjYxMDI4MTAyOTExWjAaMRgwFgYDVQQDDA9yc2EuZXhhbXBsZS5jb20wggEi\n" \
    "MA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCpd/WQpQMPfS1++Bug2t2jc5Z7\n" \
    "E2ZLQURenxf+LgllaRho0lQTunWDBbfJLxS3XXIQQ8HspZCbml18OvnZwpIZqL7d\n" \
    "y1ZpqfU/J/f8eNexa32HrP89a+Q909JfVjKr20bQoKq/F0PypjVoCrZc+OqOS8mz\n" \
    "vouRQkeZjs7EtCFlE1zd/t7rpL0W+vdh3wtpMcYCeim1SwFlI5qVvJV6L5CHnee9\n" \
    "ZtzFWK4W+BmRYkRIY8WI8DtKhfHD4X1OBJmJFVjwUewtGdvjfaZNFee1vVWI6oQk\n" \
    "rdTgw263s3f77Bfp06j/jhRRWxnbXC6fGMrRmiUxDkJsJUoZpH4wj00jxG3PAgMB\n" \
    "AAGjUzBRMB0GA1UdDgQWBBTGeUv+fTWxIJ4b+raKbamsiHO8SzAfBgNVHSMEGDAW\n" \
    "gBTGeUv+fTWxIJ4b+raKbamsiHO8SzAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3\n" \
    "DQEBCwUAA4IBAQBObsnOT4EqdasBxibJMZ799q9//z6KOg0IFGcrUsoMF1AS/gSo\n" \
    "a8lcV4uaGKSFQ5FNPlOUcco1BrikDfYK9ay1eA+p+Vu2Xfqg0LA4MQmyWE8NW+P6\n" \
    "lZnGZqfNk9kLuz+gHC73i7/L58KZmEPV3cpxVvSL4dzrUnQV0OgHUes1b/zTkkur\n" \
    "ZK/62oD4EeQ8dLvEeGwr+fywXNcsVHv80OB3La1KNEQYL1v4tZn5sMZSH/RBB3bN\n" \
    "Tkbe/HEiIQpTK1iC11fHzibjBiukDmqZOmSYzwnmli8YTUJPLm4AoAXXYqI9+I5R\n" \
    "MctTZO5Lm9e7dr88A80TizY64F0UpxdOBMlj\n" \
    "-----END CERTIFICATE-----\n"

/* PKCS#8. */
#define PKI_RSA_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCpd/WQpQMPfS1+\n" \
    "+Bug2t2jc5Z7E2ZLQURenxf+LgllaRho0lQTunWDBbfJLxS3XXIQQ8HspZCbml18\n" \
    "OvnZwpIZqL7dy1ZpqfU/J/f8eNexa32HrP89a+Q909JfVjKr20bQoKq/F0PypjVo\n" \
    "CrZc+OqOS8mzvouRQkeZjs7EtCFlE1zd/t7rpL0W+vdh3wtpMcYCeim1SwFlI5qV\n" \
    "vJV6L5CHnee9ZtzFWK4W+BmRYkRIY8WI8DtKhfHD4X1OBJmJFVjwUewtGdvjfaZN\n" \
    "Fee1vVWI6oQkrdTgw263s3f77Bfp06j/jhRRWxnbXC6fGMrRmiUxDkJsJUoZpH4w\n" \
    "j00jxG3PAgMBAAECggEATnqohD7+X1ZjUsi4FrI0cKSvG7jcpt4HOOBpHoMYQ9e6\n" \
    "/5Pjbq1rDO2Bck/0woOqNmECdcIoaP6/6y9ulAr4WJyeIx0um8kiswgh3c/iZx21\n" \
    "qLaTDtEfhghJhG/pEFAAB85XtB2kkEKrOc64K+7zxEjRlAUaIf81JCYPl+UpD+J5\n" \
    "VXQkT9Vc3BTu5VPDgx7zQc3luPF77aYbUehI/kVWnLbYdjLRifdl99HGMstVTIo7\n" \
    "D6NFM5Oe3fy0Lnb4RFqgVX6ssxFCN3p3RlR80UnVKjCuvJHGZV90WU8/53Lm3in2\n" \
    "FHV3oMsbqbP4esm0q4nMG/ujWstSYqdrhRFH44KIzQKBgQDlF4SkhmskK4VckaAW\n" \
    "OBiGTfnDMUE7Z8hT4j9xrzKYSN63TRuKeDqml3mMmsK3qvO7cZbN+vURY8EfpxHb\n" \
    "wjjVxYbE4u7cVQt7R2HvFlDOBAfbaFVHjQwakIXhujgqLk7Z9EiheLTjVi72bN1D\n" \
    "ympeYQ+SpjfEzf/o1WHeEc41owKBgQC9X6Zmei4xBommns+WNbAH560BPdPBnoMr\n" \
    "ikQKG5DHQPlbHqUH1prscvusCZ5lqKF30eI+vw7SJhrwzxF9SKX9oXDtGS+WuTOn\n" \
    "VfTLHP3DxC7zYCAQDn66QdyP50ODCWwZtBYHuRVQ1+tV/awNM9z8Nmckw4wyBT/t\n" \
    "I9Yxz/Dx5QKBgDH71qH6/gdvQ3K2B0KxzJAJFVSEO6JVe3zp4UPRoO1fANDnjvnA\n" \
    "T7OnWwrVfWSLdRBRsUCR38SCilF4p0nWb4YcydHNXaZPG+ky4uhCazD36irx8aFh\n" \
    "4eEt5Tgh5D03y1Z8mRg5+OWdGTQE/qXa1ShwbvBlOcfD1nEblXXZVq+XAoGABbIB\n" \
    "vCVCjGDo9OTj012r/KDgGCB25OTShxWydCdeFFAE79OdHP48TI4suYDUjbQjnwnl\n" \
    "5wMx++n/d2yS1xS/QUCAt/DA+KR7RDYWlaE6lI+q5dDnRfRZpVpjusQ2yJMY+DDt\n" \
    "VLAhTvwfbMejTAZaSA+OzJFA/yQfRw+D2p2pXm0CgYB/LqIobIWvKAbZeXoL1gWy\n" \
    "nJpKRpqHMEfpu9UUAqwIdYRuL3q1rnDyerhb4tMS52xylFbpL2zebbYnXwOoJdWv\n" \
    "zhbGRUFJi20EntM0TEWPAKgaV7mSzw0AaGQcJz41MR17FCi6sZCPGpWrpom1TNVW\n" \
    "TojoT9QWpLpQGwkUmGfWNw==\n" \
    "-----END PRIVATE KEY-----\n"

/* PKCS#1. */
#define PKI_RSA_PKCS1 \
    "-----BEGIN RSA PRIVATE KEY-----\n" \
    "MIIEogIBAAKCAQEAqXf1kKUDD30tfvgboNrdo3OWexNmS0FEXp8X/i4JZWkYaNJU\n" \
    "E7p1gwW3yS8Ut11yEEPB7KWQm5pdfDr52cKSGai+3ctWaan1Pyf3/HjXsWt9h6z/\n" \
    "PWvkPdPSX1Yyq9tG0KCqvxdD8qY1aAq2XPjqjkvJs76LkUJHmY7OxLQhZRNc3f7e\n" \
    "66S9Fvr3Yd8LaTHGAnoptUsBZSOalbyVei+Qh53nvWbcxViuFvgZkWJESGPFiPA7\n" \
    "SoXxw+F9TgSZiRVY8FHsLRnb432mTRXntb1ViOqEJK3U4MNut7N3++wX6dOo/44U\n" \
    "UVsZ21wunxjK0ZolMQ5CbCVKGaR+MI9NI8RtzwIDAQABAoIBAE56qIQ+/l9WY1LI\n" \
    "uBayNHCkrxu43KbeBzjgaR6DGEPXuv+T426tawztgXJP9MKDqjZhAnXCKGj+v+sv\n" \
    "bpQK+FicniMdLpvJIrMIId3P4mcdtai2kw7RH4YISYRv6RBQAAfOV7QdpJBCqznO\n" \
    "uCvu88RI0ZQFGiH/NSQmD5flKQ/ieVV0JE/VXNwU7uVTw4Me80HN5bjxe+2mG1Ho\n" \
    "SP5FVpy22HYy0Yn3ZffRxjLLVUyKOw+jRTOTnt38tC52+ERaoFV+rLMRQjd6d0ZU\n" \
    "fNFJ1SowrryRxmVfdFlPP+dy5t4p9hR1d6DLG6mz+HrJtKuJzBv7o1rLUmKna4UR\n" \
    "R+OCiM0CgYEA5ReEpIZrJCuFXJGgFjgYhk35wzFBO2fIU+I/ca8ymEjet00bing6\n" \
    "ppd5jJrCt6rzu3GWzfr1EWPBH6cR28I41cWGxOLu3FULe0dh7xZQzgQH22hVR40M\n" \
    "GpCF4bo4Ki5O2fRIoXi041Yu9mzdQ8pqXmEPkqY3xM3/6NVh3hHONaMCgYEAvV+m\n" \
    "ZnouMQaJpp7PljWwB+etAT3TwZ6DK4pEChuQx0D5Wx6lB9aa7HL7rAmeZaihd9Hi\n" \
    "Pr8O0iYa8M8RfUil/aFw7Rkvlrkzp1X0yxz9w8Qu82AgEA5+ukHcj+dDgwlsGbQW\n" \
    "B7kVUNfrVf2sDTPc/DZnJMOMMgU/7SPWMc/w8eUCgYAx+9ah+v4Hb0NytgdCscyQ\n" \
    "CRVUhDuiVXt86eFD0aDtXwDQ5475wE+zp1sK1X1ki3UQUbFAkd/EgopReKdJ1m+G\n" \
    "HMnRzV2mTxvpMuLoQmsw9+oq8fGhYeHhLeU4IeQ9N8tWfJkYOfjlnRk0BP6l2tUo\n" \
    "cG7wZTnHw9ZxG5V12VavlwKBgAWyAbwlQoxg6PTk49Ndq/yg4BggduTk0ocVsnQn\n" \
    "XhRQBO/TnRz+PEyOLLmA1I20I58J5ecDMfvp/3dsktcUv0FAgLfwwPike0Q2FpWh\n" \
    "OpSPquXQ50X0WaVaY7rENsiTGPgw7VSwIU78H2zHo0wGWkgPjsyRQP8kH0cPg9qd\n" \
    "qV5tAoGAfy6iKGyFrygG2Xl6C9YFspyaSkaahzBH6bvVFAKsCHWEbi96ta5w8nq4\n" \
    "W+LTEudscpRW6S9s3m22J18DqCXVr84WxkVBSYttBJ7TNExFjwCoGle5ks8NAGhk\n" \
    "HCc+NTEdexQourGQjxqVq6aJtUzVVk6I6E/UFqS6UBsJFJhn1jc=\n" \
    "-----END RSA PRIVATE KEY-----\n"

/* Too short. */
#define PKI_RSA_1024 \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIB/jCCAWegAwIBAgIUPHQx0hb82BiteiLy42N8huRrcUwwDQYJKoZIhvcNAQEL\n" \
    "BQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYxMTIxMTAyOTExWhgPMjEyNjEwMjgx\n" \
    "MDI5MTFaMBAxDjAMBgNVBAMMBXNob3J0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB\n" \
    "iQKBgQC1wN/NAjP2sZw9lIQHmOlGM7cQJe5fahuSLGBFcLKAOnHWF+ANq0OJyvzJ\n" \
    "R02rscpPGtQ9+kYFEYhjMd8+98ajqzQRhQBuDqBj2Aom1fl1c7GDYjGAhhe2hQJH\n" \
    "NGrPEHz+1lz0bbL2CzgE7CygZi+BTQGjlkihO7VQp2kGfMn2MQIDAQABo1MwUTAd\n" \
    "BgNVHQ4EFgQU8XbgD2kJuwE52NeWXJYScK2HmxMwHwYDVR0jBBgwFoAU8XbgD2kJ\n" \
    "uwE52NeWXJYScK2HmxMwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOB\n" \
    "gQCnSDCR1Nvi78g5a6AtgOvE5nF6SMR12gCGxiIyAIQ+r2v4jaGkxoCF1qMwdWV7\n" \
    "zT5F6/quQWDJyDbrLSPJFd6ty+hNjzmxDsQn4Nwt0ce5Ou3TiuZkcx4t9x5MogL5\n" \
    "V3XvGMAR8Q7FwcnoeqAa9S8rMk8szgjrIaJWnx2LMYx17A==\n" \
    "-----END CERTIFICATE-----\n"

/* DNS p384.example.com. */
#define PKI_P384 \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIB0DCCAVWgAwIBAgIUM6UDhPHjzLT3qla3GRR0I8rZalgwCgYIKoZIzj0EAwIw\n" \
    "DzENMAsGA1UEAwwEcDM4NDAgFw0yNjExMjExMDI5MTFaGA8yMTI2MTAyODEwMjkx\n" \
    "MVowDzENMAsGA1UEAwwEcDM4NDB2MBAGByqGSM49AgEGBSuBBAAiA2IABBX4tDj0\n" \
    "nfbgdPA3Rzf1iRQjdEHpz0G1qKKFlugSKlFkKgRjb4aIJSv2Cp9VaXMTOS7Wvxxi\n" \
    "Wa20SSYQXehNcanaP1CcvmQcwMnl1EZcabCwvG+5c4WquTRZ79K2gZvofaNwMG4w\n" \
    "HQYDVR0OBBYEFACXCnb0I7giJ136ddNjOxhycsc/MB8GA1UdIwQYMBaAFACXCnb0\n" \
    "I7giJ136ddNjOxhycsc/MA8GA1UdEwEB/wQFMAMBAf8wGwYDVR0RBBQwEoIQcDM4\n" \
    "NC5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNpADBmAjEA2rqTzYZk7LdeHQ+8U6Rt\n" \
    "/VbIgnG1GKyaXecomGmXu89UcckebGHu/cBlomaHQz1SAjEA/2uHaEMpUNQ+zn25\n" \
    "OOmjyDPv90KBjJz27GDH0Xss5+/0XW+luEknpAIesquRnFNz\n" \
    "-----END CERTIFICATE-----\n"

/* PKCS#8. */
#define PKI_P384_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDA8RaguJOzFb7HtmCKc\n" \
    "AcrCpTPUxcboSO886WBtxu57TRFtE3sAFZaCiinxvwE6SeChZANiAAQV+LQ49J32\n" \
    "4HTwN0c39YkUI3RB6c9BtaiihZboEipRZCoEY2+GiCUr9gqfVWlzEzku1r8cYlmt\n" \
    "tEkmEF3oTXGp2j9QnL5kHMDJ5dRGXGmwsLxvuXOFqrk0We/StoGb6H0=\n" \
    "-----END PRIVATE KEY-----\n"

/* IP 192.0.2.7 alone. */
#define PKI_P521 \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIICDTCCAW+gAwIBAgIUFKnKl06pRmqsZ4PuugiAOOpFcM4wCgYIKoZIzj0EAwIw\n" \
    "DzENMAsGA1UEAwwEcDUyMTAgFw0yNjExMjExMDI5MTFaGA8yMTI2MTAyODEwMjkx\n" \
    "MVowDzENMAsGA1UEAwwEcDUyMTCBmzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEALuG\n" \
    "sB0aD5okNouqF5xTaKMhwkc1bsCxkbJOFxZ2u5syRB/G0XgvVakKdTJA3BDzvOyp\n" \
    "C9XiGbs/d2k+JV5pn6SmAIoQ4uu2alkbMyKeu2v0s4zMjonEwN4UUUtAO8IulSgi\n" \
    "WfaMuaRTQ4toiigupROlhWfGgBaNo3UD6ZpNHxm4t4GSo2QwYjAdBgNVHQ4EFgQU\n" \
    "jas/qOGP95AYPtWGLsgrNXpKq0QwHwYDVR0jBBgwFoAUjas/qOGP95AYPtWGLsgr\n" \
    "NXpKq0QwDwYDVR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwTAAAIHMAoGCCqGSM49\n" \
    "BAMCA4GLADCBhwJBXQk5Y/qeKo6OyXslu0BA70tqgtseq+3Ft/pt9i5aHomB7vXk\n" \
    "fWmYbz84fb05jHKbLqG2tGLjcwmdZs9hULQDt7oCQgEiZWQ7eG99DDqKt2gbE9Hq\n" \
    "y5ckg0aXUJwWb5O3ulj+R4Ja6DTanjq5FWO5dKxa7yvYxpjUK29MAIB+RkaNw/re\n" \
    "9Q==\n" \
    "-----END CERTIFICATE-----\n"

/* SEC1. */
#define PKI_P521_KEY \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MIHcAgEBBEIAdG4tR3OWT6eEEVwD21CsqfFK/Oc3RvYgrvmzXmEhslyoI5s3cF80\n" \
    "MQS9sp5/wF2kyaR85ROLC+nhKgqtTeSigHygBwYFK4EEACOhgYkDgYYABAC7hrAd\n" \
    "Gg+aJDaLqhecU2ijIcJHNW7AsZGyThcWdrubMkQfxtF4L1WpCnUyQNwQ87zsqQvV\n" \
    "4hm7P3dpPiVeaZ+kpgCKEOLrtmpZGzMinrtr9LOMzI6JxMDeFFFLQDvCLpUoIln2\n" \
    "jLmkU0OLaIooLqUTpYVnxoAWjaN1A+maTR8ZuLeBkg==\n" \
    "-----END EC PRIVATE KEY-----\n"

/* Bitcoin's curve. */
#define PKI_SECP256K1 \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBbzCCARSgAwIBAgIUEJOQsIAvzKd2Kgmotm19aRfhrcEwCgYIKoZIzj0EAwIw\n" \
    "DTELMAkGA1UEAwwCazEwIBcNMjYxMTIxMTAyOTExWhgPMjEyNjEwMjgxMDI5MTFa\n" \
    "MA0xCzAJBgNVBAMMAmsxMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEilD7R6iUUPqU\n" \
    "owXV3Uby/0+Wg02Vt/4f7WE8bHhNnNq/hxJ7HivkE0oOTDQg7gG6H9kZKJX/+X0C\n" \
    "prP0DAt+CqNTMFEwHQYDVR0OBBYEFBKMDsXVxNkYRwHVdvvYwN80ks6UMB8GA1Ud\n" \
    "IwQYMBaAFBKMDsXVxNkYRwHVdvvYwN80ks6UMA8GA1UdEwEB/wQFMAMBAf8wCgYI\n" \
    "KoZIzj0EAwIDSQAwRgIhAPQeIExmzX/38fr+hcqKmWbsxYNwzNczqXCGtKsidTaq\n" \
    "AiEAmspn/sMWnCypYfJN9NjiYyZaNxctF3YXoNCiM4bD684=\n" \
    "-----END CERTIFICATE-----\n"

/* Ed25519. */
#define PKI_ED25519 \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBMDCB46ADAgECAhQY6k6/76xljkSbR7Idbu02rOrTjjAFBgMrZXAwDTELMAkG\n" \
    "A1UEAwwCZWQwIBcNMjYxMTIxMTAyOTExWhgPMjEyNjEwMjgxMDI5MTFaMA0xCzAJ\n" \
    "BgNVBAMMAmVkMCowBQYDK2VwAyEAxKfrSFAQIM0LkyNNey34rxTT8JQCHlSEupJn\n" \
    "jcS9an6jUzBRMB0GA1UdDgQWBBTcjXqIYN/y2/bn41PxCAoGczA7IjAfBgNVHSME\n" \
    "GDAWgBTcjXqIYN/y2/bn41PxCAoGczA7IjAPBgNVHRMBAf8EBTADAQH/MAUGAytl\n" \
    "cANBAPFjpoesgdVINNt1N3v1kkL+nP2pdmIAxBqOe0r+2A6uJrBNgL4rubTXDoiJ\n" \
    "KO1LK0tK+uBolLs7rgIihmAvBAc=\n" \
    "-----END CERTIFICATE-----\n"

/* Its key. */
#define PKI_ED25519_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MC4CAQAwBQYDK2VwBCIEIPU2jybynJ/qhSrZLMnsWPQPVnXThgJBoGfjQScI8uWQ\n" \
    "-----END PRIVATE KEY-----\n"

/* OCSP responses about PKI_LEAF, signed by PKI_MIDDLE, in base64. */

/* Good for 100 years. */
#define PKI_OCSP_GOOD \
    "MIIBGgoBAKCCARMwggEPBgkrBgEFBQcwAQEEggEAMIH9MIGkoSowKDEVMBMGA1UE" \
    "CgwMbGltcGV0IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUYDzIwMjYxMTIxMTAyOTEx" \
    "WjBlMGMwOzAJBgUrDgMCGgUABBSTpaIqNbf5TJg8UW6SVrFkIxpNtwQU65FUL/5z" \
    "z5Zko8dAnB8LfYK3QVgCAiABgAAYDzIwMjYxMTIxMTAyOTExWqARGA8yMTI2MTAy" \
    "ODEwMjkxMVowCgYIKoZIzj0EAwIDSAAwRQIhANhY86OJ+eAdHAcUjZRfht4echhY" \
    "9NgHk3pK36dZhhXkAiBntsjWMAfXXVi6/An2FUmSqvUFROYQIlq+p9mVEAMLxg=="

/* The same with SHA-256 in its certificate's identifier. */
#define PKI_OCSP_GOOD_SHA256 \
    "MIIBOAoBAKCCATEwggEtBgkrBgEFBQcwAQEEggEeMIIBGjCBwaEqMCgxFTATBgNV" \
    "BAoMDGxpbXBldCB0ZXN0czEPMA0GA1UEAwwGbWlkZGxlGA8yMDI2MTEyMTEwMjkx" \
    "MVowgYEwfzBXMA0GCWCGSAFlAwQCAQUABCBE0NYXkdkJ9xuzK6cgtaifl7H4qjNn" \
    "HfYYAeg8FqB21gQgOW1Wdl8Qrpa+bk9ELG93cjnHDCJTM6lYs6FFN5FzGU4CAiAB" \
    "gAAYDzIwMjYxMTIxMTAyOTExWqARGA8yMTI2MTAyODEwMjkxMVowCgYIKoZIzj0E" \
    "AwIDSAAwRQIhANuGulJjfs9+6oZDHUWy8TBrQ/lXunXTZT/eypKnU0qTAiBH/Zu2" \
    "HzFjB84vMYikcUFTidyeqi/MfRohsk1WbZr8bA=="

/* Does not say when the next one will come. */
#define PKI_OCSP_NO_END \
    "MIIBBAoBAKCB/jCB+wYJKwYBBQUHMAEBBIHtMIHqMIGRoSowKDEVMBMGA1UECgwM" \
    "bGltcGV0IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUYDzIwMjYxMTIxMTAyOTExWjBS" \
    "MFAwOzAJBgUrDgMCGgUABBSTpaIqNbf5TJg8UW6SVrFkIxpNtwQU65FUL/5zz5Zk" \
    "o8dAnB8LfYK3QVgCAiABgAAYDzIwMjYxMTIxMTAyOTExWjAKBggqhkjOPQQDAgNI" \
    "ADBFAiEA7m1wSARYBY0xoqQQf2bmEo9JSDO96Fnz1LqiZn6DW0UCIBhUS7oIvKvj" \
    "qG3hncPGQb4NohjnanCdPtD4ILMJY/wp"

/* Revoked. */
#define PKI_OCSP_REVOKED \
    "MIIBLAoBAKCCASUwggEhBgkrBgEFBQcwAQEEggESMIIBDjCBtaEqMCgxFTATBgNV" \
    "BAoMDGxpbXBldCB0ZXN0czEPMA0GA1UEAwwGbWlkZGxlGA8yMDI2MTEyMTEwMjkx" \
    "MVowdjB0MDswCQYFKw4DAhoFAAQUk6WiKjW3+UyYPFFuklaxZCMaTbcEFOuRVC/+" \
    "c8+WZKPHQJwfC32Ct0FYAgIgAaERGA8yMDI2MDEwMTAwMDAwMFoYDzIwMjYxMTIx" \
    "MTAyOTExWqARGA8yMTI2MTAyODEwMjkxMVowCgYIKoZIzj0EAwIDSAAwRQIhAPMy" \
    "v7waoqnypLbprbZrbDGX8RyQw2oGEVd2MV2Au8p9AiBp6B+xVLUz5KMh5g1rRthu" \
    "8uCQEMndmqoIbS1rNtpIzw=="

/* Unknown. */
#define PKI_OCSP_UNKNOWN \
    "MIIBGgoBAKCCARMwggEPBgkrBgEFBQcwAQEEggEAMIH9MIGkoSowKDEVMBMGA1UE" \
    "CgwMbGltcGV0IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUYDzIwMjYxMTIxMTAyOTEx" \
    "WjBlMGMwOzAJBgUrDgMCGgUABBSTpaIqNbf5TJg8UW6SVrFkIxpNtwQU65FUL/5z" \
    "z5Zko8dAnB8LfYK3QVgCAiABggAYDzIwMjYxMTIxMTAyOTExWqARGA8yMTI2MTAy" \
    "ODEwMjkxMVowCgYIKoZIzj0EAwIDSAAwRQIhAMnrbN9XYiivMdndMmGX7Wk+da0+" \
    "Yygv76DsxKRMPzLpAiBpd2kJHyS5trgoFmLpLfXpqsfu+VaQjwJH8cHz9Qxyvg=="

/* About PKI_OTHER. */
#define PKI_OCSP_OTHER \
    "MIIBGgoBAKCCARMwggEPBgkrBgEFBQcwAQEEggEAMIH9MIGkoSowKDEVMBMGA1UE" \
    "CgwMbGltcGV0IHRlc3RzMQ8wDQYDVQQDDAZtaWRkbGUYDzIwMjYxMTIxMTAyOTEx" \
    "WjBlMGMwOzAJBgUrDgMCGgUABBSTpaIqNbf5TJg8UW6SVrFkIxpNtwQU65FUL/5z" \
    "z5Zko8dAnB8LfYK3QVgCAiACgAAYDzIwMjYxMTIxMTAyOTExWqARGA8yMTI2MTAy" \
    "ODEwMjkxMVowCgYIKoZIzj0EAwIDSAAwRQIhAKsO+I2NZ0EZhGrjLpa6ftX7T6Ae" \
    "0GnZwmTjZuYS6ZZhAiAbkVIaED10xQlIyYog0ha0FtQxIUIvN270iNl+dB6x6A=="

/* clang-format on */

#endif
