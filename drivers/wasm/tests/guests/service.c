// A component that serves requests; the path says how.
typedef unsigned char u8;
typedef int i32;
typedef long long i64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define TYPES "wasi:http/types@0.2.0"

IMPORT(TYPES, "[constructor]fields") i32 fields_new(void);
IMPORT(TYPES, "[method]incoming-request.path-with-query") void request_path(i32, void *);
IMPORT(TYPES, "[constructor]outgoing-response") i32 response_new(i32);
IMPORT(TYPES, "[method]outgoing-response.body") void response_body(i32, void *);
IMPORT(TYPES, "[method]outgoing-body.write") void body_write(i32, void *);
IMPORT(TYPES, "[static]outgoing-body.finish") void body_finish(i32, i32, i32, void *);
IMPORT(TYPES, "[static]response-outparam.set")
void outparam_set(i32, i32, i32, i32, i64, i32, i32, i32, i32);
IMPORT(TYPES, "[constructor]outgoing-request") i32 outgoing_new(i32);
IMPORT(TYPES, "[method]outgoing-request.set-scheme") i32 outgoing_scheme(i32, i32, i32, i32, i32);
IMPORT(TYPES, "[method]outgoing-request.set-authority") i32 outgoing_authority(i32, i32, const u8 *, i32);
IMPORT(TYPES, "[method]outgoing-request.set-path-with-query") i32 outgoing_path(i32, i32, const u8 *, i32);
IMPORT(TYPES, "[method]future-incoming-response.subscribe") i32 future_subscribe(i32);
IMPORT(TYPES, "[method]future-incoming-response.get") void future_get(i32, void *);
IMPORT(TYPES, "[method]incoming-response.status") i32 response_status(i32);
IMPORT("wasi:http/outgoing-handler@0.2.0", "handle") void outgoing_handle(i32, i32, i32, void *);
IMPORT("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush")
void stream_write(i32, const u8 *, i32, void *);
IMPORT("wasi:io/streams@0.2.0", "[resource-drop]output-stream") void stream_drop(i32);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void pollable_block(i32);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") void pollable_drop(i32);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") i32 clock_subscribe(i64);

static _Alignas(8) u8 heap[1 << 16];
static unsigned heap_used;
static _Alignas(8) u8 ret[128];
static u8 text[64];
static i32 served;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, i32 old_size, i32 align, i32 size) {
    heap_used = (heap_used + align - 1) & ~(unsigned)(align - 1);
    u8 *at = heap + heap_used;
    heap_used += size;
    if (heap_used > sizeof heap) __builtin_trap();
    for (i32 i = 0; i < old_size; i++) at[i] = ((u8 *)old)[i];
    return at;
}

static i32 word(i32 at) { return *(i32 *)(ret + at); }

static i32 begins(const u8 *path, i32 len, const char *with) {
    i32 i = 0;
    for (; with[i]; i++)
        if (i >= len || path[i] != (u8)with[i]) return 0;
    return i;
}

static i32 number(u8 *to, i32 value) {
    u8 digits[12];
    i32 n = 0, len = 0;
    do digits[n++] = '0' + value % 10; while (value /= 10);
    while (n) to[len++] = digits[--n];
    return len;
}

static void answer(i32 out, const u8 *body, i32 len) {
    i32 response = response_new(fields_new());
    response_body(response, ret);
    i32 to = word(4);
    body_write(to, ret);
    i32 stream = word(4);
    outparam_set(out, 0, response, 0, 0, 0, 0, 0, 0);
    stream_write(stream, body, len, ret);
    stream_drop(stream);
    body_finish(to, 0, 0, ret);
}

static void sleep_ms(i64 ms) {
    i32 pollable = clock_subscribe(ms * 1000000);
    pollable_block(pollable);
    pollable_drop(pollable);
}

// Asks a server for its root, and tells its status, or with which code that failed.
static i32 fetch(const u8 *host, i32 len) {
    i32 request = outgoing_new(fields_new());
    outgoing_scheme(request, 1, 0, 0, 0);
    outgoing_authority(request, 1, host, len);
    outgoing_path(request, 1, (const u8 *)"/", 1);
    outgoing_handle(request, 0, 0, ret);
    if (ret[0]) return 1000 + ret[8];
    i32 future = word(8);
    i32 pollable = future_subscribe(future);
    pollable_block(pollable);
    pollable_drop(pollable);
    future_get(future, ret);
    if (!ret[0] || ret[8]) return 3000;
    if (ret[16]) return 2000 + ret[24];
    return response_status(word(24));
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.0#handle"))) void handle(i32 request, i32 out) {
    request_path(request, ret);
    const u8 *path = (const u8 *)word(4);
    i32 len = ret[0] ? word(8) : 0, at;
    served++;
    if (begins(path, len, "/hello")) return answer(out, (const u8 *)"hello\n", 6);
    if (begins(path, len, "/count")) return answer(out, text, number(text, served));
    if ((at = begins(path, len, "/sleep/"))) {
        i64 ms = 0;
        for (; at < len; at++) ms = ms * 10 + path[at] - '0';
        sleep_ms(ms);
        return answer(out, (const u8 *)"slept\n", 6);
    }
    if (begins(path, len, "/spin")) for (volatile i32 i = 0;; i++) {}
    if (begins(path, len, "/trap")) __builtin_trap();
    if (begins(path, len, "/grow")) for (;;) __builtin_wasm_memory_grow(0, 16);
    if (begins(path, len, "/silent")) return;
    if ((at = begins(path, len, "/fetch/"))) return answer(out, text, number(text, fetch(path + at, len - at)));
    answer(out, (const u8 *)"?", 1);
}
