;; A reactor in text: it counts, and does what a guest should not when it is asked to.
;;
;;   add …     counts one more and answers how many      get       answers how many
;;   no        counts and declines                       trap      counts and traps
;;   loop      counts and never ends                     deep      counts and calls itself for ever
;;   memory    grows as far as it may, answers pages     flood     answers for ever
;;   wait      sets a timer that counts 100              publish   says how many on the channel news
;;   tell      sends `add` to the daemon of the 32 bytes that follow
;;   roll      answers a random number                   when      answers the time
;;   fill      writes to every page of its memory
(module
  (import "whimbrel" "answer" (func $answer (param i32 i32)))
  (import "whimbrel" "send" (func $send (param i32 i32 i32)))
  (import "whimbrel" "publish" (func $publish (param i32 i32 i32 i32)))
  (import "whimbrel" "set_timer" (func $set_timer (param i64 i64)))
  (import "whimbrel" "now" (func $now (result i64)))
  (import "whimbrel" "random" (func $random (param i32 i32)))
  (import "whimbrel" "decline" (func $decline (param i32 i32)))
  (memory (export "memory") 2)
  (global $count (mut i64) (i64.const 0))
  (data (i32.const 16) "not today")
  (data (i32.const 32) "news")
  (data (i32.const 40) "add")

  ;; Events come to one place: each is over before the next.
  (func (export "whimbrel_alloc") (param $length i32) (result i32)
    (i32.const 65536))

  (func (export "on_birth")
    (global.set $count (i64.const 0)))

  (func (export "on_timer") (param $number i64)
    (global.set $count (i64.add (global.get $count) (i64.const 100))))

  (func $count_one
    (global.set $count (i64.add (global.get $count) (i64.const 1))))

  ;; Answers a number in decimal digits; they are written backwards before address 128.
  (func $say (param $number i64)
    (local $at i32)
    (local.set $at (i32.const 128))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48)
          (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
      (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
      (br_if $digits (i64.ne (local.get $number) (i64.const 0))))
    (call $answer (local.get $at) (i32.sub (i32.const 128) (local.get $at))))

  (func $deep (param $depth i32) (result i32)
    (i32.add (i32.const 1) (call $deep (i32.add (local.get $depth) (i32.const 1)))))

  (func $fill
    (local $at i32)
    (local.set $at (i32.const 65536))
    (loop $next
      (i64.store (local.get $at) (i64.add (global.get $count) (i64.extend_i32_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $next
        (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))

  (func $is (param $letter i32) (param $at i32) (result i32)
    (i32.eq (i32.load8_u (local.get $at)) (local.get $letter)))

  (func (export "on_event") (param $at i32) (param $length i32)
    (if (i32.eqz (local.get $length)) (then (return)))
    (if (call $is (i32.const 97) (local.get $at)) ;; a
      (then (call $count_one) (call $say (global.get $count)) (return)))
    (if (call $is (i32.const 103) (local.get $at)) ;; g
      (then (call $say (global.get $count)) (return)))
    (if (call $is (i32.const 114) (local.get $at)) ;; r
      (then
        (call $random (i32.const 64) (i32.const 8))
        (call $say (i64.load (i32.const 64)))
        (return)))
    (call $count_one)
    (if (call $is (i32.const 110) (local.get $at)) ;; n
      (then (call $decline (i32.const 16) (i32.const 9))))
    (if (call $is (i32.const 116) (local.get $at)) ;; t
      (then
        (if (call $is (i32.const 101) (i32.add (local.get $at) (i32.const 1))) ;; te
          (then
            (call $send (i32.add (local.get $at) (i32.const 5)) (i32.const 40) (i32.const 3))
            (return)))
        (unreachable)))
    (if (call $is (i32.const 108) (local.get $at)) ;; l
      (then (loop $for_ever (br $for_ever))))
    (if (call $is (i32.const 100) (local.get $at)) ;; d
      (then (call $say (i64.extend_i32_u (call $deep (i32.const 0))))))
    (if (call $is (i32.const 109) (local.get $at)) ;; m
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (call $say (i64.extend_i32_u (memory.size)))))
    (if (call $is (i32.const 102) (local.get $at)) ;; f
      (then
        (if (call $is (i32.const 105) (i32.add (local.get $at) (i32.const 1))) ;; fi
          (then (call $fill) (return)))
        (loop $more (call $answer (i32.const 16) (i32.const 9)) (br $more))))
    (if (call $is (i32.const 119) (local.get $at)) ;; w
      (then
        (if (call $is (i32.const 104) (i32.add (local.get $at) (i32.const 1))) ;; wh
          (then (call $say (call $now)) (return)))
        (call $set_timer (i64.const 7) (i64.add (call $now) (i64.const 1000000)))))
    (if (call $is (i32.const 112) (local.get $at)) ;; p
      (then (call $publish (i32.const 32) (i32.const 4) (i32.const 32) (i32.const 4))))))
