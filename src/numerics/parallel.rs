//! Work on all threads whose results one thread receives as they come.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;

use rayon::prelude::*;

/// Works through the items on as many threads as the current pool has, and hands each result, in the order in which they
/// end, to `receive` on the calling thread. `receive` returns false to stop: what is in flight still comes, the rest is left.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut receive: impl FnMut(R) -> bool) {
    let stopped = AtomicBool::new(false);
    let threads = rayon::current_num_threads();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let (stopped, work) = (&stopped, &work);
        scope.spawn(move || {
            let all = || {
                items.par_iter().with_max_len(1).for_each(|item| {
                    if !stopped.load(Relaxed) && sender.send(work(item)).is_err() {
                        stopped.store(true, Relaxed);
                    }
                });
            };
            // A new thread is in the global pool, not in the caller's.
            match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
                Ok(pool) => pool.install(all),
                Err(_) => all(),
            }
        });
        for result in receiver {
            if !receive(result) {
                stopped.store(true, Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_until_it_is_stopped() {
        let items: Vec<u64> = (0..100).collect();
        let mut results = Vec::new();
        each(
            &items,
            |x| x * x,
            |square| {
                results.push(square);
                true
            },
        );
        results.sort_unstable();
        assert!(results.iter().copied().eq(items.iter().map(|x| x * x)));
        let mut received = 0;
        each(
            &items,
            |x| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                *x
            },
            |_| {
                received += 1;
                false
            },
        );
        assert!((1..100).contains(&received), "{received}");
    }
}
