/* Primitives against published vectors. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "e2ee/crypto.h"
#include "support.h"

static struct device device;

static int setup(void **state)
{
    (void)state;
    device_init(&device, 1, 1, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    device_deinit(&device);
    return 0;
}

static struct curve_pair pair_of(uint8_t fill)
{
    uint8_t private_key[32];
    struct curve_pair pair;
    memset(private_key, fill, sizeof private_key);
    curve_pair_from_private(private_key, &pair);
    return pair;
}

static void curve_agree__computes__rfc7748_vectors(void **state)
{
    struct secret32 scalar, shared;
    uint8_t point[E2EE_PUBLIC_LEN] = {5};
    (void)state;
    from_hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", scalar.bytes,
             32);
    from_hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", point + 1, 32);
    assert_true(curve_agree(&scalar, point, &shared));
    assert_hex(shared.bytes, 32,
               "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");

    struct curve_pair alice;
    uint8_t private_key[32];
    from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", private_key, 32);
    curve_pair_from_private(private_key, &alice);
    assert_hex(alice.public_key + 1, 32,
               "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", point + 1, 32);
    assert_true(curve_agree(&alice.private_key, point, &shared));
    assert_hex(shared.bytes, 32,
               "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

static void curve_agree__matches__facts_and_libsodium(void **state)
{
    struct curve_pair one = pair_of(0x11), two = pair_of(0x22);
    struct secret32 shared;
    (void)state;
    assert_hex(one.public_key, 33,
               "057b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13");
    assert_hex(two.public_key, 33,
               "050faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20");
    assert_true(curve_agree(&one.private_key, two.public_key, &shared));
    assert_hex(shared.bytes, 32,
               "9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056");
    for (int i = 0; i < 200; i++) {
        uint8_t expected[32];
        assert_true(curve_pair_generate(&device.env, &one));
        assert_true(curve_pair_generate(&device.env, &two));
        assert_true(curve_agree(&one.private_key, two.public_key, &shared));
        assert_int_equal(crypto_scalarmult(expected, one.private_key.bytes, two.public_key + 1),
                         0);
        assert_memory_equal(shared.bytes, expected, 32);
        crypto_scalarmult_base(expected, one.private_key.bytes);
        assert_memory_equal(one.public_key + 1, expected, 32);
    }
}

static void curve_check__refuses__bad_public_keys(void **state)
{
    /* Order 1, 2, 4, 8, 8 and their non-canonical twins; type bytes. */
    static const char *const bad[] = {
        "050000000000000000000000000000000000000000000000000000000000000000",
        "050100000000000000000000000000000000000000000000000000000000000000",
        "05e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "055f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "05ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "05edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "05eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "05ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "057b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f93",
        "067b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13",
        "007b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13",
        /* on the twist */
        "050200000000000000000000000000000000000000000000000000000000000000",
    };
    struct curve_pair pair = pair_of(0x11);
    struct secret32 shared;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t key[33];
        from_hex(bad[i], key, sizeof key);
        assert_false(curve_public_check(key));
        if (i + 1 < sizeof bad / sizeof bad[0]) {
            assert_false(curve_agree(&pair.private_key, key, &shared));
        }
    }
    for (int i = 0; i < 100; i++) {
        assert_true(curve_pair_generate(&device.env, &pair));
        assert_true(curve_public_check(pair.public_key));
    }
}

/* A point of prime order plus one of order 8 is on the curve, agrees to
 * something that is not zero, and is still refused. */
static void curve_check__refuses__key_with_torsion(void **state)
{
    uint8_t torsion[32], point[32], mixed[32], u[E2EE_PUBLIC_LEN] = {5};
    struct curve_pair pair = pair_of(0x33);
    struct secret32 shared;
    (void)state;
    from_hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", torsion, 32);
    assert_int_equal(crypto_scalarmult_ed25519_base(point, pair.private_key.bytes), 0);
    assert_int_equal(crypto_core_ed25519_add(mixed, point, torsion), 0);
    /* f(u) = (u - 1)/(u + 1) applied twice is -1/u, so applied three times it
     * is its own inverse, which libsodium does not offer. */
    uint8_t y[32];
    memcpy(y, mixed, 32);
    y[31] &= 0x7f;
    curve_edwards_from_montgomery(y, 0, u + 1);
    curve_edwards_from_montgomery(u + 1, 0, u + 1);
    curve_edwards_from_montgomery(u + 1, 0, u + 1);
    uint8_t back[32];
    curve_edwards_from_montgomery(u + 1, 0, back);
    assert_memory_equal(back, y, 32);
    assert_true(curve_public_canonical(u));
    assert_true(curve_agree(&pair.private_key, u, &shared));
    assert_false(curve_public_check(u));
}

static void xeddsa__verifies__vector_and_own_signatures(void **state)
{
    struct curve_pair pair = pair_of(0x11);
    uint8_t signature[64];
    const uint8_t *message = (const uint8_t *)"xeddsa test";
    (void)state;
    from_hex("c4776d0c093c3a3c747b1fcd4968408c0e6c623254ddb87dbb73d04e88748d70"
             "10e08d4b3620960c5bc1b05187f48399a5ca992c84b0bc299181d51bdf0b258b",
             signature, sizeof signature);
    assert_true(xeddsa_verify(pair.public_key, message, 11, signature));
    assert_int_equal(e2ee_signature_check(pair.public_key, message, 11, signature), E2EE_OK);
    for (unsigned bit = 0; bit < 512; bit++) {
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(xeddsa_verify(pair.public_key, message, 11, signature));
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(xeddsa_verify(pair.public_key, message, 10, signature));
    for (size_t len = 0; len < 200; len++) {
        uint8_t text[200];
        memset(text, (int)len, sizeof text);
        assert_true(curve_pair_generate(&device.env, &pair));
        assert_true(xeddsa_sign(&device.env, &pair.private_key, text, len, signature));
        assert_true(xeddsa_verify(pair.public_key, text, len, signature));
        signature[len % 64] ^= 1;
        assert_false(xeddsa_verify(pair.public_key, text, len, signature));
    }
}

static void hkdf__derives__rfc5869_vectors(void **state)
{
    uint8_t ikm[80], salt[80], info[80], out[82];
    (void)state;
    memset(ikm, 0x0b, 22);
    from_hex("000102030405060708090a0b0c", salt, sizeof salt);
    from_hex("f0f1f2f3f4f5f6f7f8f9", info, sizeof info);
    hkdf_sha256(salt, 13, ikm, 22, info, 10, out, 42);
    assert_hex(out, 42,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
               "34007208d5b887185865");
    for (unsigned i = 0; i < 80; i++) {
        ikm[i] = (uint8_t)i;
        salt[i] = (uint8_t)(0x60 + i);
        info[i] = (uint8_t)(0xb0 + i);
    }
    hkdf_sha256(salt, 80, ikm, 80, info, 80, out, 82);
    assert_hex(out, 82,
               "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
               "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
               "cc30c58179ec3e87c14c01d5c1f3434f1d87");
    memset(ikm, 0x0b, 22);
    hkdf_sha256(NULL, 0, ikm, 22, info, 0, out, 42);
    assert_hex(out, 42,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
               "9d201395faa4b61a96c8");
}

static void hmac__computes__rfc4231_vectors(void **state)
{
    uint8_t key[131], out[32];
    (void)state;
    memset(key, 0x0b, 20);
    struct piece pieces[] = {PIECE("Hi ", 3), PIECE("There", 5)};
    hmac_sha256(key, 20, pieces, 2, out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    memset(key, 0xaa, 131);
    struct piece piece = PIECE("Test Using Larger Than Block-Size Key - Hash Key First", 54);
    hmac_sha256(key, 131, &piece, 1, out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void aes_cbc__encrypts__nist_vector(void **state)
{
    uint8_t key[32], iv[16], plain[64], out[80], back[80];
    size_t len;
    (void)state;
    from_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", key, 32);
    from_hex("000102030405060708090a0b0c0d0e0f", iv, 16);
    from_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
             "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
             plain, 64);
    assert_int_equal(aes_cbc_len(64), 80);
    aes_cbc_encrypt(key, iv, plain, 64, out);
    assert_hex(out, 64,
               "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
               "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b");
    assert_true(aes_cbc_decrypt(key, iv, out, 80, back, &len));
    assert_int_equal(len, 64);
    assert_memory_equal(back, plain, 64);
}

static void aes_cbc__round_trips__every_length(void **state)
{
    uint8_t key[32], iv[16], plain[300], out[320], back[320];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = (uint8_t)(i * 7);
    }
    memset(key, 1, sizeof key);
    memset(iv, 2, sizeof iv);
    for (size_t n = 0; n < sizeof plain; n++) {
        size_t padded = aes_cbc_len(n);
        aes_cbc_encrypt(key, iv, plain, n, out);
        assert_true(aes_cbc_decrypt(key, iv, out, padded, back, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, plain, n);
        assert_false(aes_cbc_decrypt(key, iv, out, padded - 1, back, &len));
    }
    assert_false(aes_cbc_decrypt(key, iv, out, 0, back, &len));
}

/* Every last byte, and every damage to correct padding. */
static void aes_cbc__refuses__bad_padding(void **state)
{
    uint8_t key[32] = {3}, iv[16] = {4}, block[32], out[48], back[48];
    size_t len;
    (void)state;
    for (unsigned padding = 0; padding < 256; padding++) {
        for (unsigned damaged = 0; damaged <= 16; damaged++) {
            memset(block, 0x77, sizeof block);
            for (unsigned i = 0; i < 16 && i < padding; i++) {
                block[31 - i] = (uint8_t)padding;
            }
            block[31] = (uint8_t)padding;
            if (damaged > 0) {
                block[32 - damaged] ^= 0x80;
            }
            aes_cbc_encrypt(key, iv, block, 32, out);
            unsigned last = block[31];
            bool good = last >= 1 && last <= 16;
            for (unsigned i = 0; good && i < last; i++) {
                good = block[31 - i] == last;
            }
            bool accepted = aes_cbc_decrypt(key, iv, out, 32, back, &len);
            assert_int_equal(accepted, good);
            if (good) {
                assert_int_equal(len, 32 - last);
            }
        }
    }
}

static void argon2id__derives__reference_vectors(void **state)
{
    const uint8_t *password = (const uint8_t *)"password";
    const uint8_t *salt = (const uint8_t *)"somesaltsomesalt";
    uint8_t key[32];
    (void)state;
    assert_true(crypto_password_key(password, 8, salt, 1024, 2, key, 32));
    assert_hex(key, 32, "08a19ee7f6d7f589c2ab6af18d6e724172b19f7d6fd462b38430ab31ceabeaf0");
    assert_true(crypto_password_key(password, 8, salt, 4096, 3, key, 32));
    assert_hex(key, 32, "06fb80ed27de6ec202ddfe204b2eff122d6cebe86c11f68eb8264c6e5ff2fd28");
    assert_false(crypto_password_key(password, 8, salt, 7, 2, key, 32));
    assert_false(crypto_password_key(password, 8, salt, 1024, 0, key, 32));
}

static void aead__opens__only_what_was_sealed(void **state)
{
    uint8_t key[32] = {1}, nonce[24] = {2}, sealed[5 + 16], plain[5];
    (void)state;
    aead_seal(key, nonce, (const uint8_t *)"ad", 2, (const uint8_t *)"hello", 5, sealed);
    assert_true(aead_open(key, nonce, (const uint8_t *)"ad", 2, sealed, sizeof sealed, plain));
    assert_memory_equal(plain, "hello", 5);
    assert_false(aead_open(key, nonce, (const uint8_t *)"aD", 2, sealed, sizeof sealed, plain));
    assert_false(aead_open(key, nonce, (const uint8_t *)"ad", 2, sealed, 15, plain));
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 1;
        assert_false(
            aead_open(key, nonce, (const uint8_t *)"ad", 2, sealed, sizeof sealed, plain));
        sealed[i] ^= 1;
    }
}

static void kyber1024__agrees__and_rejects_implicitly(void **state)
{
    static uint8_t public_key[KYBER1024_PUBLIC_LEN], secret_key[KYBER1024_SECRET_LEN];
    static uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN];
    struct secret32 one, two;
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_true(kyber1024_keypair(&device.env, public_key, secret_key));
        assert_true(kyber1024_public_check(public_key));
        assert_true(kyber1024_encaps(&device.env, public_key, ciphertext, &one));
        assert_true(kyber1024_decaps(secret_key, ciphertext, &two));
        assert_memory_equal(one.bytes, two.bytes, 32);
        ciphertext[i * 70] ^= 1;
        assert_true(kyber1024_decaps(secret_key, ciphertext, &two));
        assert_memory_not_equal(one.bytes, two.bytes, 32);
    }
    memset(public_key, 0xff, 3); /* coefficients above q */
    assert_false(kyber1024_public_check(public_key));
    assert_false(kyber1024_encaps(&device.env, public_key, ciphertext, &one));
    secret_key[KYBER1024_SECRET_LEN - 40] ^= 1; /* H(ek) no longer fits */
    assert_false(kyber1024_decaps(secret_key, ciphertext, &one));
}

static void mlkem768__halves__make_an_ordinary_ciphertext(void **state)
{
    static uint8_t ek[MLKEM768_EK_LEN], dk[MLKEM768_DK_LEN];
    uint8_t coins[64], header[MLKEM768_HEADER_LEN];
    uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN];
    struct mlkem768_coins kept;
    struct secret32 one, two;
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_true(env_random(&device.env, coins, sizeof coins));
        assert_true(mlkem768_keypair_derand(coins, ek, dk));
        memcpy(header, ek + MLKEM768_T_LEN, 32);
        sha3_256(ek, sizeof ek, header + 32);
        assert_true(env_random(&device.env, coins, sizeof coins));
        assert_true(mlkem768_encaps1(header, coins, &kept, ciphertext, &one));
        assert_true(mlkem768_encaps2(header, ek, &kept, ciphertext + MLKEM768_CT1_LEN));
        assert_true(mlkem768_decaps(dk, ciphertext, &two));
        assert_memory_equal(one.bytes, two.bytes, 32);
        ek[i] ^= 1; /* a key that the header did not announce */
        assert_false(mlkem768_encaps2(header, ek, &kept, ciphertext + MLKEM768_CT1_LEN));
    }
    /* The header may announce a key that is no key. */
    memset(ek, 0xff, 3);
    sha3_256(ek, sizeof ek, header + 32);
    assert_false(mlkem768_encaps2(header, ek, &kept, ciphertext + MLKEM768_CT1_LEN));
}

static void primitives__report__failing_randomness(void **state)
{
    static uint8_t public_key[KYBER1024_PUBLIC_LEN], secret_key[KYBER1024_SECRET_LEN];
    static uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN], signature[64];
    struct curve_pair pair = pair_of(1);
    struct secret32 shared;
    (void)state;
    assert_true(kyber1024_keypair(&device.env, public_key, secret_key));
    device.random.fails = true;
    assert_false(curve_pair_generate(&device.env, &pair));
    assert_false(xeddsa_sign(&device.env, &pair.private_key, signature, 1, signature));
    assert_false(kyber1024_keypair(&device.env, public_key, secret_key));
    assert_false(kyber1024_encaps(&device.env, public_key, ciphertext, &shared));
}

static void err_name__names__every_error(void **state)
{
    (void)state;
    for (int err = 0; err < E2EE_ERR_COUNT; err++) {
        assert_string_not_equal(e2ee_err_name((enum e2ee_err)err), "unknown");
    }
    assert_string_equal(e2ee_err_name((enum e2ee_err)E2EE_ERR_COUNT), "unknown");
    assert_string_equal(e2ee_err_name((enum e2ee_err)-1), "unknown");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(curve_agree__computes__rfc7748_vectors),
        TEST(curve_agree__matches__facts_and_libsodium),
        TEST(curve_check__refuses__bad_public_keys),
        TEST(curve_check__refuses__key_with_torsion),
        TEST(xeddsa__verifies__vector_and_own_signatures),
        TEST(hkdf__derives__rfc5869_vectors),
        TEST(hmac__computes__rfc4231_vectors),
        TEST(aes_cbc__encrypts__nist_vector),
        TEST(aes_cbc__round_trips__every_length),
        TEST(aes_cbc__refuses__bad_padding),
        TEST(argon2id__derives__reference_vectors),
        TEST(aead__opens__only_what_was_sealed),
        TEST(kyber1024__agrees__and_rejects_implicitly),
        TEST(mlkem768__halves__make_an_ordinary_ciphertext),
        TEST(primitives__report__failing_randomness),
        TEST(err_name__names__every_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
