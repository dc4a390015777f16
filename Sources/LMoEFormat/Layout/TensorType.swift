/// What a tensor is apart from its values: dtype, block geometry and shape.
public struct TensorType: Hashable, Sendable {
  /// The element type.
  public let dtype: DType
  /// Present exactly for `DType.block`.
  public let geometry: BlockGeometry?
  /// The dimensions, outermost first; empty for a scalar.
  public let shape: [Int]
  /// Bytes of all elements, row-major, little-endian, without padding.
  public let rawBytes: Int
  /// The number of elements.
  public let elementCount: Int

  /// Checks a shape; nil if it breaks a limit of the format or does not fit the dtype.
  ///
  /// The product of the non-zero dimensions is limited too: a zero does not excuse the others.
  public init?(dtype: DType, geometry: BlockGeometry? = nil, shape: [UInt64]) {
    guard shape.count <= Limits.rank, (dtype == .block) == (geometry != nil) else { return nil }
    var elements: UInt64 = 1
    for dimension in shape where dimension != 0 {
      guard dimension <= Limits.dimension else { return nil }
      let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
      guard !overflow, product <= Limits.tensorBytes else { return nil }
      elements = product
    }
    if shape.contains(0) { elements = 0 }
    let bytes: UInt64
    if let geometry {
      let block = UInt64(geometry.blockElements)
      switch geometry.layout {
      case .rows:
        guard let last = shape.last, last.isMultiple(of: block) else { return nil }
        bytes = elements / block * UInt64(geometry.blockBytes)
      case .flat:
        bytes = (elements + block - 1) / block * UInt64(geometry.blockBytes)
      }
    } else {
      guard let width = dtype.elementBytes else { return nil }
      bytes = elements * UInt64(width)
    }
    guard bytes <= Limits.tensorBytes, let rawBytes = Int(exactly: bytes),
      let elementCount = Int(exactly: elements)
    else { return nil }
    self.dtype = dtype
    self.geometry = geometry
    self.shape = shape.compactMap { Int(exactly: $0) }
    self.rawBytes = rawBytes
    self.elementCount = elementCount
  }

  /// Plain bytes, as of a document.
  public static func bytes(_ count: Int) -> TensorType? {
    UInt64(exactly: count).flatMap { TensorType(dtype: .u8, shape: [$0]) }
  }

  /// The smallest piece that a chunk may hold: an element, or a block.
  public var unitBytes: Int { geometry.map { Int($0.blockBytes) } ?? dtype.elementBytes ?? 1 }
}
