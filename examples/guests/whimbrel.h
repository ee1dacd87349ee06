/* What a guest in C imports from a Whimbrel node, and exports to it.
 *
 *   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -o counter.wasm counter.c
 *
 * All that is asked for happens once the turn is durable, and not at all if the turn is declined or traps.
 * docs/guide/isolates.md says more. */

#ifndef WHIMBREL_H
#define WHIMBREL_H

#include <stddef.h>
#include <stdint.h>

#define WHIMBREL_IMPORT(name) __attribute__((import_module("whimbrel"), import_name(name)))
#define WHIMBREL_EXPORT(name) __attribute__((export_name(name)))

/* The 32 bytes that name a daemon. */
typedef struct {
  uint8_t bytes[32];
} whimbrel_entity;

/* An answer to whoever sent the event. */
WHIMBREL_IMPORT("answer") void whimbrel_answer(const void *bytes, size_t length);

/* An event for another daemon. */
WHIMBREL_IMPORT("send")
void whimbrel_send(const whimbrel_entity *to, const void *bytes, size_t length);

/* A message on a channel of this daemon. */
WHIMBREL_IMPORT("publish")
void whimbrel_publish(const char *channel, size_t channel_length, const void *bytes, size_t length);

/* Calls on_timer once the daemon's time is `at`, in nanoseconds since the Unix epoch. Numbers 0 to 4095. */
WHIMBREL_IMPORT("set_timer") void whimbrel_set_timer(uint64_t number, uint64_t at);

/* Forgets a timer. */
WHIMBREL_IMPORT("cancel_timer") void whimbrel_cancel_timer(uint64_t number);

/* Nanoseconds since the Unix epoch; stands still within a turn. */
WHIMBREL_IMPORT("now") uint64_t whimbrel_now(void);

/* Random bytes, the same in every replay of the turn. */
WHIMBREL_IMPORT("random") void whimbrel_random(void *bytes, size_t length);

/* The daemon's own name. */
WHIMBREL_IMPORT("entity") void whimbrel_own_entity(whimbrel_entity *entity);

/* Ends the turn: the event is declined, and nothing of it has happened. */
WHIMBREL_IMPORT("decline")
_Noreturn void whimbrel_decline(const char *reason, size_t length);

/* What a reactor exports: room for an event, and its taking. on_timer may be left out. */
WHIMBREL_EXPORT("whimbrel_alloc") void *whimbrel_alloc(size_t length);
WHIMBREL_EXPORT("on_event") void on_event(const uint8_t *bytes, size_t length);
WHIMBREL_EXPORT("on_timer") void on_timer(uint64_t number);

#endif
