#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace nabla {

// A first-in-first-out queue of bounded length between threads; all calls are thread safe. close() ends it: nothing enters any more, what
// is inside can still be taken. A consumer thread is the loop `while (auto item = queue.pop())`; to end it from a std::jthread's stop
// token, close the queue in a std::stop_callback. The queue must outlive the threads that wait on it.
template <class T>
class BoundedQueue {
 public:
  // capacity > 0.
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // Full: waits for room. Closed, before or while waiting: returns false and the value is dropped.
  bool push(T value) {
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
      if (closed_) return false;
      items_.push_back(std::move(value));
    }
    filled_.notify_one();
    return true;
  }

  // Full or closed: returns the value at once. Nothing: it is inside.
  std::optional<T> try_push(T value) {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return value;
      items_.push_back(std::move(value));
    }
    filled_.notify_one();
    return std::nullopt;
  }

  // As try_push, but a full queue is waited for that long at most.
  template <class Rep, class Period>
  std::optional<T> push_for(T value, std::chrono::duration<Rep, Period> timeout) {
    {
      std::unique_lock lock(mutex_);
      room_.wait_for(lock, timeout, [&] { return closed_ || items_.size() < capacity_; });
      if (closed_ || items_.size() >= capacity_) return value;
      items_.push_back(std::move(value));
    }
    filled_.notify_one();
    return std::nullopt;
  }

  // Empty: waits for an item. Nothing: closed and drained.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return closed_ || !items_.empty(); });
    return take(lock);
  }

  // Nothing: empty at the moment, or closed and drained.
  std::optional<T> try_pop() {
    std::unique_lock lock(mutex_);
    return take(lock);
  }

  // Nothing: no item came in time, or closed and drained; closed() tells which.
  template <class Rep, class Period>
  std::optional<T> pop_for(std::chrono::duration<Rep, Period> timeout) {
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, timeout, [&] { return closed_ || !items_.empty(); });
    return take(lock);
  }

  // Wakes everybody who waits. Calling it again changes nothing.
  void close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    filled_.notify_all();
    room_.notify_all();
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }

  // Late the moment it returns: for metrics, not for decisions.
  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

  std::size_t capacity() const { return capacity_; }

 private:
  std::optional<T> take(std::unique_lock<std::mutex>& lock) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    lock.unlock();
    room_.notify_one();
    return item;
  }

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable filled_, room_;
  std::deque<T> items_;  // guarded by mutex_
  bool closed_ = false;  // guarded by mutex_
};

}  // namespace nabla
