//! Bodies that attract each other: floats in loops of three.

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

#[inline(never)]
fn advance(bodies: &mut [Body], time: f64) {
    for i in 0..bodies.len() {
        for j in i + 1..bodies.len() {
            let mut way = [0.0; 3];
            let mut square = 0.0;
            for k in 0..3 {
                way[k] = bodies[i].place[k] - bodies[j].place[k];
                square += way[k] * way[k];
            }
            let pull = time / (square * square.sqrt());
            let (one, other) = (bodies[i].mass, bodies[j].mass);
            for k in 0..3 {
                bodies[i].speed[k] -= way[k] * other * pull;
                bodies[j].speed[k] += way[k] * one * pull;
            }
        }
    }
    for body in bodies.iter_mut() {
        for k in 0..3 {
            body.place[k] += time * body.speed[k];
        }
    }
}

/// The bits of where the first body is after this many steps.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let body = |place, speed, mass| Body { place, speed, mass };
    let mut bodies = vec![
        body([0.0; 3], [0.0; 3], 39.47),
        body([4.84, -1.16, -0.10], [0.606, 2.81, -0.02], 0.037),
        body([8.34, 4.12, -0.4], [-1.01, 1.82, 0.008], 0.011),
        body([12.8, -15.1, -0.22], [1.08, 0.868, -0.01], 0.0017),
        body([15.3, -25.9, 0.179], [0.979, 0.594, -0.034], 0.002),
    ];
    for _ in 0..n {
        advance(&mut bodies, 0.01);
    }
    bodies[0].place.iter().map(|it| it.to_bits()).fold(0, u64::wrapping_add) as i64
}
