/* A reactor in C: counts events, declines the empty one, answers how many there were. */

#include "whimbrel.h"

static uint8_t room[512 << 10];
static uint64_t count;

void *whimbrel_alloc(size_t length) { return length <= sizeof room ? room : NULL; }

void on_event(const uint8_t *bytes, size_t length) {
  char digits[20];
  size_t at = sizeof digits;
  (void)bytes;
  if (length == 0) {
    whimbrel_decline("nothing to count", 16);
  }
  count += 1;
  for (uint64_t rest = count; rest != 0 || at == sizeof digits; rest /= 10) {
    digits[--at] = (char)('0' + rest % 10);
  }
  whimbrel_answer(digits + at, sizeof digits - at);
}

void on_timer(uint64_t number) { (void)number; }
