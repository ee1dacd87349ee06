;; A program that computes for a while and needs little memory: the file `ledger` holds the 32 bytes of a
;; daemon of the kind kv, 8 letters that name this program, the number of rounds and the passes of each as 4
;; bytes, little-endian. Each round counts through its passes, sends `add NAME-ROUND 1` to the daemon and prints
;; a line with the round and the sum so far. It ends with the lowest 7 bits of the sum.
(module
  (import "whimbrel" "send" (func $send (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  ;; 0..16: pieces and results; 64..112: the ledger; 128: what is sent; 192: the line.
  (data (i32.const 16) "ledger")
  (data (i32.const 128) "add ........-........ 1")
  (data (i32.const 192) "........ ................\n")

  (func $hex (param $at i32) (param $digits i32) (param $number i64)
    (local $digit i32)
    (loop $next
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (local.set $digit (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15))))
      (i32.store8 (i32.add (local.get $at) (local.get $digits))
        (i32.add (local.get $digit)
          (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
      (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
      (br_if $next (local.get $digits))))

  (func $count (param $sum i64) (param $passes i32) (result i64)
    (loop $next
      (local.set $sum
        (i64.add
          (i64.mul (local.get $sum) (i64.const 6364136223846793005))
          (i64.const 1442695040888963407)))
      (local.set $passes (i32.sub (local.get $passes) (i32.const 1)))
      (br_if $next (local.get $passes)))
    (local.get $sum))

  (func (export "_start")
    (local $round i32) (local $rounds i32) (local $sum i64)
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 6)
          (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12))
      (then unreachable))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 48))
    (if (call $fd_read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable))
    (i64.store (i32.const 132) (i64.load (i32.const 96)))
    (local.set $rounds (i32.load (i32.const 104)))
    (local.set $sum (i64.load (i32.const 96)))
    (loop $next
      (local.set $sum (call $count (local.get $sum) (i32.load (i32.const 108))))
      (call $hex (i32.const 141) (i32.const 8) (i64.extend_i32_u (local.get $round)))
      (call $send (i32.const 64) (i32.const 128) (i32.const 23))
      (call $hex (i32.const 192) (i32.const 8) (i64.extend_i32_u (local.get $round)))
      (call $hex (i32.const 201) (i32.const 16) (local.get $sum))
      (i32.store (i32.const 0) (i32.const 192))
      (i32.store (i32.const 4) (i32.const 26))
      (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
        (then unreachable))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $round) (local.get $rounds))))
    (call $proc_exit (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 127)))))
