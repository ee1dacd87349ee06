;; A program in text, with WASI: counts for a while, says so, waits 20 ms, writes every line that it is
;; given to its output and to a file, and ends with code 3 when there is no more.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "counted\n")
  (data (i32.const 32) "copy.txt")

  ;; Writes what lies at an address; gives up if it cannot.
  (func $write (param $to i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable)))

  ;; A sum that takes a few hundred thousand steps.
  (func $count (result i64)
    (local $i i64) (local $sum i64)
    (loop $next
      (local.set $sum
        (i64.add (i64.mul (local.get $sum) (i64.const 31)) (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 450000))))
    (local.get $sum))

  (func (export "_start")
    (local $file i32) (local $length i32)
    (i64.store (i32.const 64) (call $count))
    (drop (call $random_get (i32.const 72) (i32.const 8)))
    (call $write (i32.const 1) (i32.const 16) (i32.const 8))
    ;; One subscription: a relative timeout of 20 ms on the monotonic clock.
    (i64.store (i32.const 128) (i64.const 1))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.const 20000000))
    (if (call $poll_oneoff (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 12))
      (then unreachable))
    ;; A new file, to read and write.
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 8)
          (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 12))
      (then unreachable))
    (local.set $file (i32.load (i32.const 12)))
    (loop $lines
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 256))
      (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
        (then unreachable))
      (local.set $length (i32.load (i32.const 8)))
      (if (local.get $length)
        (then
          (call $write (i32.const 1) (i32.const 1024) (local.get $length))
          (call $write (local.get $file) (i32.const 1024) (local.get $length))
          (br $lines))))
    (call $proc_exit (i32.const 3))))
