/// A value behind a mutex, as an object that can be shared.
public final class Guarded<Value>: @unchecked Sendable {
  private let condition = Condition()
  private var value: Value

  /// Holds `value`.
  public init(_ value: Value) { self.value = value }

  /// Runs `body` alone with the value.
  public func withValue<Result, Failure: Error>(
    _ body: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try condition.locked { () throws(Failure) in try body(&value) }
  }
}
