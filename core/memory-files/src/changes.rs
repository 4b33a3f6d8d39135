//! What one view tells the others: a bounded queue each, that becomes "everything" when it is full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use gw_store::files::FilesChange;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Every view's queue.
#[derive(Debug)]
pub struct Views {
    queues: Mutex<Vec<Weak<Changes>>>,
    /// Most namespaces have one view and nobody to tell.
    count: AtomicUsize,
    changes_max: usize,
}

impl Views {
    pub fn new(changes_max: usize) -> Self {
        Self { queues: Mutex::default(), count: AtomicUsize::new(0), changes_max }
    }

    pub fn add(&self) -> Arc<Changes> {
        let changes = Arc::new(Changes::default());
        let mut queues = self.queues.lock();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&changes));
        self.count.store(queues.len(), Ordering::Release);
        changes
    }

    /// To all but the view that made the change.
    pub fn tell(&self, teller: &Arc<Changes>, change: impl Fn() -> FilesChange) {
        if self.count.load(Ordering::Acquire) < 2 {
            return;
        }
        for queue in self.queues.lock().iter().filter_map(Weak::upgrade) {
            if !Arc::ptr_eq(&queue, teller) {
                queue.push(change(), self.changes_max);
            }
        }
    }
}

/// One view's queue.
#[derive(Debug, Default)]
pub struct Changes {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<FilesChange>,
    closed: bool,
}

impl Changes {
    fn push(&self, change: FilesChange, changes_max: usize) {
        let mut waiting = self.waiting.lock();
        if waiting.changes.len() >= changes_max {
            waiting.changes.clear();
            waiting.changes.push_back(FilesChange::Everything);
        } else if waiting.changes.back() != Some(&change) {
            waiting.changes.push_back(change);
        }
        drop(waiting);
        self.woken.notify_one();
    }

    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.woken.notify_one();
    }

    pub async fn next(&self) -> Option<FilesChange> {
        loop {
            // A permit of `notify_one` is kept, so nothing is lost between the look and the wait.
            {
                let mut waiting = self.waiting.lock();
                if let Some(change) = waiting.changes.pop_front() {
                    return Some(change);
                }
                if waiting.closed {
                    self.woken.notify_one();
                    return None;
                }
            }
            self.woken.notified().await;
        }
    }
}
