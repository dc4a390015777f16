import Foundation
import LMoECore
import Testing

/// A team that runs one job at a time.
@Suite(.timeLimit(.minutes(1))) struct WorkerPoolTests {
  @Test(arguments: [1, 2, 3, 16]) func `each worker runs the job once`(count: Int) {
    let pool = WorkerPool(count: count)
    #expect(pool.count == count)
    for _ in 0..<300 {
      let workers = Guarded<[Int]>([])
      pool.run { worker in workers.withValue { $0.append(worker) } }
      #expect(workers.withValue { $0.sorted() } == Array(0..<count))
    }
  }

  @Test func `counts`() {
    #expect(WorkerPool(count: 0).count == 1)
    #expect(WorkerPool(count: -5).count == 1)
    #expect(WorkerPool.shared.count == WorkerPool.processorCount())
    #expect(WorkerPool.processorCount() >= 1)
  }

  @Test func `the caller is worker 0 and the others are threads of their own`() {
    let pool = WorkerPool(count: 4)
    let threads = Guarded<[Int: UInt]>([:])
    @Sendable func thread() -> UInt { UInt(bitPattern: Thread.current.hash) }
    for _ in 0..<2 {
      pool.run { worker in
        let id = thread()
        threads.withValue { known in
          #expect(known[worker] == nil || known[worker] == id || worker == 0, "a worker keeps its thread")
          known[worker] = id
        }
      }
    }
    #expect(threads.withValue { $0[0] } == thread())
    #expect(threads.withValue { Set($0.values).count } == 4)
  }

  @Test func `it returns when all have returned`() {
    let pool = WorkerPool(count: 4)
    for _ in 0..<20 {
      let done = Guarded(0)
      pool.run { worker in
        usleep(UInt32(worker) * 300)
        done.withValue { $0 += 1 }
      }
      #expect(done.withValue { $0 } == 4)
    }
  }

  @Test func `concurrent callers take turns`() async {
    let pool = WorkerPool(count: 3)
    let state = Guarded((caller: -1, running: 0, jobs: 0, mixed: 0))
    let callers = (0..<8).map { caller in
      let finished = DispatchSemaphore(value: 0)
      Thread {
        for _ in 0..<100 {
          pool.run { _ in
            state.withValue { state in
              if state.running == 0 { state.caller = caller }
              if state.caller != caller { state.mixed += 1 }
              state.running += 1
            }
            sched_yield()
            state.withValue { state in
              state.running -= 1
              state.jobs += 1
            }
          }
        }
        finished.signal()
      }.start()
      return finished
    }
    for finished in callers { finished.wait() }
    let (_, running, jobs, mixed) = state.withValue { $0 }
    #expect(running == 0 && jobs == 8 * 100 * 3)
    #expect(mixed == 0, "two jobs ran at once")
  }

  @Test func `a queue hands out each number once`() {
    let pool = WorkerPool(count: 4)
    for count in [0, 1, 10_000] {
      let queue = WorkQueue(count: count)
      let taken = Guarded<[Int]>([])
      pool.run { _ in
        var mine: [Int] = []
        while let number = queue.next() { mine.append(number) }
        #expect(zip(mine, mine.dropFirst()).allSatisfy { $0 < $1 })
        taken.withValue { $0 += mine }
      }
      #expect(taken.withValue { $0.sorted() } == Array(0..<count))
      #expect(queue.next() == nil)
    }
  }
}
