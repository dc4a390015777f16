/// stub
public func closestName(to name: String, among candidates: some Sequence<String>) -> String? { nil }
